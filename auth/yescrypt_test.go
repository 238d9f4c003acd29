package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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

// TestOneLargeCheckAtATime: however much memory the hashes of a users file take, logins at the same
// time take it once, and those of users with other hashes do not wait for it.
func TestOneLargeCheckAtATime(t *testing.T) {
	const argon2 = "{ARGON2ID}$argon2id$v=19$m=%d,t=1,p=1$c2FsdHNhbHQ$aGFzaGFzaGFzaGFzaGFzaA"
	largest := strings.Replace(yescryptHashes[4], "$j9T$", "$jFT$", 1)
	for stored, want := range map[string]int{
		"{PLAIN}x": 0, "": 0, yescryptHashes[0]: 1 << 10, yescryptHashes[1]: 2 << 10, yescryptHashes[4]: 16 << 10, largest: 1 << 20, "{crypt}" + largest: 1 << 20,
		fmt.Sprintf(argon2, 1<<20): 1 << 20, strings.Replace(fmt.Sprintf(argon2, 9<<10), "2id", "2i", 1): 9 << 10,
	} {
		if got := memoryOf(stored); got != want {
			t.Errorf("%s takes %d KiB, want %d", stored, got, want)
		}
	}
	c := newChecker()
	c.slots = make(chan struct{}, 2)
	c.large <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 10 {
		if _, err := c.check(ctx, "a", netip.Addr{}, largest, "x", true); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if ok, err := c.check(context.Background(), "b", netip.Addr{}, yescryptHashes[2], "secret word", true); !ok || err != nil {
		t.Error(ok, err)
	}
	<-c.large
	if ok, err := c.check(context.Background(), "a", netip.Addr{}, fmt.Sprintf(argon2, largeMemory+1), "x", true); ok || err != nil {
		t.Error(ok, err)
	}
	if len(c.large)+len(c.slots) != 0 {
		t.Error("a check that has ended keeps others waiting")
	}
}
