package auth

import (
	"os/exec"
	"strings"
	"testing"
)

// yescryptHashes are by "mkpasswd -m yescrypt -R COST 'secret word'" of Debian 12, with the lowest
// costs, the default one (5), and a salt that was given.
var yescryptHashes = []string{
	"$y$j75$4RNC4QfXhGTFFsHAY1itK/$rICfixLmXzaS7TvpRjGeVwKCG6CHHvgrHYdc/o5yBr.",
	"$y$j85$VawR41htqEMbw..Ui1e4P1$k3HiG4fRTwrmm08husemltVu4AntzUB5cACn86EwG3A",
	"$y$j7T$7AMrRrXuKtRVULpTRplt8.$AN4Eylg/kegqLiOX6SuF8ujGG9/cV5kPrP.VAVn7Nk9",
	"$y$j9T$Xwun6/eAKF5cmbKt9.GG00$03qxMDK8v5e61hzca/41Nj1EiNOaWC93ecIrvqorD78",
	"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zMa5Bjs1A4gujxsOoVcSW2gqW3d2Z27zEetul1pc3VA",
}

// TestYescrypt: the default of Debian 12's mkpasswd and shadow is verified, as by Dovecot.
func TestYescrypt(t *testing.T) {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Fatal("doveadm is missing: apt-get install dovecot-core (make test does)")
	}
	for _, hash := range yescryptHashes {
		for _, stored := range []string{hash, "{CRYPT}" + hash, "{crypt}" + hash} {
			for password, want := range map[string]bool{"secret word": true, "secret wore": false, "": false} {
				if ok, err := matches(stored, []byte(password)); ok != want || err != nil {
					t.Errorf("%s with %q: %v, %v", stored, password, ok, err)
				}
			}
		}
		if out, err := exec.Command("doveadm", "pw", "-t", "{CRYPT}"+hash, "-p", "secret word").CombinedOutput(); err != nil {
			t.Errorf("Dovecot does not take %s: %v %s", hash, err, out)
		}
	}
}

// TestCostlyYescrypt: the cost is known before it is paid, and so is all else that could fail.
func TestCostlyYescrypt(t *testing.T) {
	hash := yescryptHashes[4]
	for old, now := range map[string]string{
		"$j9T$": "$jGT$", "$y$j9T": "$y$j9U", "$y$j": "$y$k", "j9T": "j6T", "j9": "jz", "T$": "T", "..1$": "..2$", "LKQ..1": "LKQ..", "F5Jx": "F5J%", "c3VA": "c3V", "3VA": "3VAA", "A4gu": "A4g:",
	} {
		changed := strings.Replace(hash, old, now, 1)
		if _, _, err := schemeOf(changed); err == nil || changed == hash {
			t.Errorf("%s is taken for a hash", changed)
		}
	}
	for _, stored := range []string{"$y$", "{CRYPT}$y$j9T", "$y$j9T$$", "$gy$j9T$Z61TTaykKHqP5zJyW.QpD/$5XI9gUwovL.uTap6guIdqne/cghtlCbBlc2HbSsYVu0", "$7$CU..../....x$y"} {
		if _, _, err := schemeOf(stored); err == nil {
			t.Errorf("%s is taken for a hash", stored)
		}
	}
}
