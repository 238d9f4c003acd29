package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForeignMaildir: when root acts for several system users, no command works on what a user
// has linked into the place of his Maildir: it may be another user's mail, or the system's.
func TestForeignMaildir(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	dir, config := newServer(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(config)
	must(err)
	must(os.WriteFile(config, []byte(strings.Replace(string(text), `"mail/%d/%n"`, `"%h/Maildir"`, 1)), 0o600))
	snapshots := filepath.Join(t.TempDir(), "snapshots")
	var users strings.Builder
	for name, uid := range map[string]string{"alice": "54321", "bob": "54322", "carol": "54323", "dan": "54324"} {
		users.WriteString(name + "@example.org:{PLAIN}secret:" + uid + ":" + uid + "::" + filepath.Join(dir, name) + "::\n")
	}
	must(os.WriteFile(filepath.Join(dir, "users"), []byte(users.String()), 0o600))
	for name, uid := range map[string]int{"alice": 54321, "bob": 54322, "carol": 54323, "dan": 54324} {
		home := filepath.Join(dir, name)
		must(os.MkdirAll(home, 0o700))
		switch name {
		case "bob":
			must(os.Symlink("../alice/Maildir", home+"/Maildir"))
		case "carol": // a directory of the system
			must(os.Mkdir(dir+"/etc", 0o755))
			must(os.WriteFile(dir+"/etc/.pwd.lock", nil, 0o600))
			must(os.Chtimes(dir+"/etc/.pwd.lock", time.Unix(1_700_000_000, 0), time.Unix(1_700_000_000, 0)))
			must(os.Symlink("../etc", home+"/Maildir"))
		case "dan": // with which everybody's snapshots would be in his Maildir
			must(os.Symlink(filepath.Dir(snapshots), home+"/Maildir"))
		default:
			for _, sub := range []string{"cur", "new", "tmp"} {
				must(os.MkdirAll(home+"/Maildir/"+sub, 0o700))
			}
			must(os.WriteFile(home+"/Maildir/cur/1.a:2,", []byte("Subject: secret\n\n"), 0o600))
		}
		must(filepath.WalkDir(home, func(path string, _ os.DirEntry, _ error) error { return os.Lchown(path, uid, uid) }))
	}
	for _, args := range [][]string{
		{"backup", "--config", config, snapshots}, {"restore", "--config", config}, {"check", "--repair", "--config", config},
	} {
		out, _, err := run("", args...)
		if !strings.Contains(out, "alice@example.org: ") || strings.Contains(out, "bob@") || strings.Contains(out, "carol@") {
			t.Errorf("%s: %q", args[0], out)
		}
		for _, want := range []string{"bob/Maildir belongs to the system user 54321, not to 54322", "carol/Maildir belongs to the system user 0, not to 54323", "dan/Maildir belongs to"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", args[0], err, want)
			}
		}
	}
	for path, there := range map[string]bool{
		snapshots + "/alice@example.org/latest/cur/1.a:2,": true, snapshots + "/bob@example.org": false, dir + "/etc/.pwd.lock": true,
	} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}
