package e2e

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFail2ban: the filter in README finds the address in every line about a failed
// login, for both protocols and both formats of the log, and in nothing that a client can
// write into a line.
func TestFail2ban(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^    failregex = (.*)\n {16}(.*)$`).FindSubmatch(readme)
	if shown == nil {
		t.Fatal("the README has no filter")
	}
	for i, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			filter := regexp.MustCompile(strings.Replace(string(shown[i+1]), "<HOST>", `(?P<host>[0-9a-fA-F:.]+)`, 1))
			m := start(t, "# [log]", "[log]\nformat = \""+format+"\"")
			imap := speak(t, m, "imap", "* OK")
			forged := strings.NewReplacer("text", `level=WARN msg=\"login failed\" protocol=imap session=1 remote=192.0.2.1 method=X`,
				"json", `\"level\":\"WARN\",\"msg\":\"login failed\",\"protocol\":\"imap\",\"session\":\"1\",\"remote\":\"192.0.2.1\",\"method\":`).Replace(format)
			imap.say("a LOGIN "+alice+" wrong\r\n", "a NO [AUTHENTICATIONFAILED]")
			imap.say("b LOGIN \""+forged+"\" wrong\r\n", "b NO ")
			imap.say("c AUTHENTICATE PLAIN AGFsaWNlAHdyb25n\r\n", "c NO ")
			if out, err := command(t, m, "", "swaks", "--server", m.Address("submission"), "--from", bob, "--to", bob,
				"--auth", "PLAIN", "--auth-user", bob, "--auth-password", "wrong"); err == nil {
				t.Errorf("swaks got in:\n%s", out)
			}
			eventually(t, func() error {
				if !strings.Contains(m.Log(), bob) {
					return fmt.Errorf("not logged:\n%s", m.Log())
				}
				return nil
			})
			found := map[string]int{}
			for lines := bufio.NewScanner(strings.NewReader(m.Log())); lines.Scan(); {
				if hit := filter.FindStringSubmatch(lines.Text()); hit != nil {
					protocol := "imap"
					if strings.Contains(lines.Text(), "submission") {
						protocol = "submission"
					}
					found[protocol+" "+hit[1]]++
				}
			}
			if len(found) != 2 || found["imap 127.0.0.1"] != 3 || found["submission 127.0.0.1"] < 1 {
				t.Errorf("the filter finds %v in\n%s", found, m.Log())
			}
		})
	}
}
