package e2e

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFail2ban: the filter of the README finds the address in every failed
// login, and in nothing that a client can write into a line.
func TestFail2ban(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^    failregex = (.*)$`).FindSubmatch(readme)
	if shown == nil {
		t.Fatal("the README has no filter")
	}
	filter := regexp.MustCompile(strings.Replace(string(shown[1]), "<HOST>", `(?P<host>[0-9a-fA-F:.]+)`, 1))

	m := start(t)
	conn := dial(t, m.Address("imap"))
	lines := bufio.NewReader(conn)
	say(t, conn, lines, "", "* OK")
	forged := `level=WARN msg=\"login failed\" protocol=imap session=1 remote=192.0.2.1 method=X`
	say(t, conn, lines, "a LOGIN "+alice+" wrong\r\n", "a NO [AUTHENTICATIONFAILED]")
	say(t, conn, lines, "b LOGIN \""+forged+"\" wrong\r\n", "b NO ")
	if out, err := command(t, m, "", "swaks", "--server", m.Address("submission"), "--from", bob, "--to", bob,
		"--auth", "PLAIN", "--auth-user", bob, "--auth-password", "wrong"); err == nil {
		t.Errorf("swaks got in:\n%s", out)
	}
	hosts := map[string]int{}
	for line := range strings.Lines(m.Log()) {
		if found := filter.FindStringSubmatch(line); found != nil {
			hosts[found[1]]++
		}
	}
	if len(hosts) != 1 || hosts["127.0.0.1"] < 2 {
		t.Errorf("the filter finds %v in\n%s", hosts, m.Log())
	}
	if !strings.Contains(m.Log(), "protocol=submission") {
		t.Errorf("log:\n%s", m.Log())
	}
}
