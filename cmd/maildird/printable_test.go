package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrintable: names that a user has chosen neither act on the terminal of an operator nor
// look like another line.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "", `a "b" ü \`: `a "b" ü \`, "a\nb\x1b[2J\x7f": `a\nb\x1b[2J\x7f`, "\xff\uFFFD\u202e": `\xff` + "\uFFFD" + `\u202e`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	dir, config := newServer(t)
	good(t, "secret\nsecret\n", "user", "add", "--config", config, "alice@example.org")
	root := filepath.Join(dir, "mail/example.org/alice")
	const hostile = "\x1b[2J\nalice@example.org: all is well"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{root, root + "/.Work" + hostile} {
		must(os.MkdirAll(folder+"/cur", 0o700))
		must(os.MkdirAll(folder+"/new", 0o700))
		must(os.WriteFile(folder+"/cur/1.a"+hostile+",S=7:2,", []byte("Subject: x\n\ny\n"), 0o666))
		must(os.WriteFile(folder+"/dovecot-uidlist", []byte("damaged"+hostile), 0o600))
		must(unix.Mkfifo(folder+"/cur/2.b"+hostile, 0o600))
	}
	must(os.WriteFile(root+"/cur/1.a"+hostile+",S=7:2,S", []byte("Subject: x\n\ny\n"), 0o666))
	snapshots := filepath.Join(t.TempDir(), "snapshots")
	for _, args := range [][]string{{"check", "--config", config}, {"backup", "--config", config, snapshots}, {"restore", root}, {"check", "--repair", "--config", config}} {
		out, errOut, err := run("", args...)
		if err != nil {
			errOut += err.Error()
		}
		all := strings.ReplaceAll(out+errOut, dir, "")
		if !strings.Contains(all, `x1b[2J`) {
			t.Errorf("%s does not name the files: %q", args[0], all)
		}
		if strings.Contains(all, "\x1b") || strings.Contains(all, "\nalice@example.org: all is well") {
			t.Errorf("%s: %q", args[0], all)
		}
	}
}
