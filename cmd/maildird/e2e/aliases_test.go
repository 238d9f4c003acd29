package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAliases: swaks sends to an alias and from one, with each protocol; the running server,
// confined to its files, loads a changed file.
func TestAliases(t *testing.T) {
	t.Parallel()
	m := setUp(t, "# aliases =", "aliases =")
	file := filepath.Join(m.Dir, "aliases")
	write := func(text string) {
		t.Helper()
		err := os.WriteFile(file+".new", []byte(text), 0o644)
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("info@example.org alice,\n\tbob\nbroken nobody\n")
	run(t, m)
	const outside = "carol@example.net"
	as := []string{"--auth-user", alice, "--auth-password", password, "--from", "info@example.org", "--tls", "--server"}
	for name, args := range map[string][]string{
		"mx":         {"--from", outside, "--server", m.Address("smtp")},
		"lmtp":       {"--from", outside, "--server", m.Address("lmtp"), "--protocol", "LMTP"},
		"submission": append(as, m.Address("submission")),
	} {
		out, err := command(t, m, "", "swaks", append(args, "--to", "info+"+name+"@example.org", "--header", "Subject: "+name)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		for _, user := range []string{alice, bob} {
			_, text := find(t, m, user, name)
			to := strings.Replace(user, "@", "+"+name+"@", 1)
			if !strings.Contains(string(text), "\nX-Original-To: info+"+name+"@example.org\nDelivered-To: "+to+"\n") {
				t.Errorf("%s got:\n%s", user, text)
			}
		}
		want := fmt.Sprintf("to=\"alice+%[1]s@example.org bob+%[1]s@example.org\" orig_to=info+%[1]s@example.org ", name)
		if log := m.Log(); !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if log := m.Log(); !strings.Contains(log, "line=3 problem=\"nobody is neither an alias nor the name of exactly one user") {
		t.Errorf("the log lacks the line that cannot be used:\n%s", log)
	}
	ask := func(to, reply string) error {
		out, _ := command(t, m, "", "swaks", "--server", m.Address("smtp"), "--from", outside, "--to", to, "--quit-after", "RCPT")
		if !strings.Contains(out, reply) {
			return fmt.Errorf("%s: no %s in\n%s", to, reply, out)
		}
		return nil
	}
	if err := ask("broken@example.org", "<** 451 4.3.5"); err != nil {
		t.Error(err)
	}
	write("@example.org bob\nbroken alice\n")
	eventually(t, func() error { return ask("any@example.org", "<-  250 2.1.5") })
	if err := ask("broken@example.org", "<-  250 2.1.5"); err != nil {
		t.Error(err)
	}
	// If the file is missing, the aliases remain.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := m.Process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if log := m.Log(); !strings.Contains(log, `msg="reloaded in part" kept="the aliases"`) {
			return fmt.Errorf("the log lacks the reload:\n%s", log)
		}
		return nil
	})
	if err := ask("any@example.org", "<-  250 2.1.5"); err != nil {
		t.Error(err)
	}
}
