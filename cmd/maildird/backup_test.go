package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"maildird/scripts/rig"
)

// rounds is the number of copies that are made under load with each method.
const rounds = 20

// TestBackupUnderLoad copies the mail of a server while there are deliveries, STORE, MOVE and
// EXPUNGE, and a program renames and moves files without a lock, with "maildird backup", and
// with several passes of plain rsync and "maildird restore". Everything that was acknowledged
// before a copy began must be in it, no UID may have changed, the flags must be some that the
// message had in the meantime, and a server that serves the copy must show the same.
func TestBackupUnderLoad(t *testing.T) {
	copies, err := rig.Dir("copies")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(copies)
	binary, err := rig.Build(copies, false)
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, binary)
	defer func() { l.end(); l.note("at the end") }()

	var last string
	t.Run("backup", func(t *testing.T) {
		for n := range rounds {
			l.note("meanwhile")
			begun := l.ledger.mark()
			out, err := l.server.Run("", "backup", "--config", l.server.Config, filepath.Join(copies, "snapshots"))
			if err != nil {
				t.Fatalf("maildird backup: %v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last = lines[len(lines)-1]
			if n%5 == 0 {
				t.Log(lines[0])
			}
			// A slow machine may not get the lock of a folder in time, which is reported.
			numbered := !strings.Contains(out, "copied without the lock") && !strings.Contains(out, "could not be given UIDs")
			l.ledger.check(t, fmt.Sprintf("round %d", n+1), last, begun, numbered)
		}
		l.serves(t, binary, last)
	})
	t.Run("rsync and restore", func(t *testing.T) {
		merged := 0
		for n := range rounds {
			l.note("meanwhile")
			begun := l.ledger.mark()
			last = filepath.Join(copies, fmt.Sprintf("rsync%d", n))
			l.rsync(t, last)
			out, err := l.server.Run("", "restore", last)
			if err != nil {
				t.Fatalf("maildird restore: %v\n%s", err, out)
			}
			merged += strings.Count(out, "an older name of the same message")
			l.ledger.check(t, fmt.Sprintf("round %d", n+1), last, begun, false)
			if n == rounds-1 {
				l.serves(t, binary, last)
			}
		}
		if merged == 0 {
			t.Error("no round had a message under two names: there was no load")
		}
		t.Logf("%d second names in %d rounds", merged, rounds)
	})
}

// passes of rsync are made, and during each, the load has this many turns.
const passes, turns = 5, 30

// rsync copies the Maildir as described in README: several passes, and then the
// lists once more.
func (l *load) rsync(t *testing.T, dest string) {
	t.Helper()
	pass := func(args ...string) {
		cmd := exec.Command("rsync", append(args, l.home+"/", dest+"/")...)
		rig.Prepare(cmd, l.server.Dir)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err != nil && code != 24 { // 24: files vanished
			t.Fatalf("rsync: %v\n%s", err, out)
		}
	}
	for range passes {
		l.meter(turns)
		pass("-a", "--exclude=tmp/*", "--exclude=*.lock", "--exclude=dovecot.index*")
	}
	pass("-a", "--include=*/", "--include=dovecot-uidlist", "--include=dovecot-keywords", "--exclude=*")
}

// serves lets another server serve a copy, and compares what it shows with the files.
func (l *load) serves(t *testing.T, binary, copied string) {
	t.Helper()
	other, err := rig.InitMaildird(binary, []rig.Account{loadUser})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	home := other.Home(loadUser.Address)
	cp := exec.Command("sh", "-c", `mkdir -p "$2" && cp -a "$1/." "$2"`, "sh", copied, home)
	rig.Prepare(cp, other.Dir)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if err := other.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := imapclient.DialInsecure(other.Address("imap"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(loadUser.Address, loadUser.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	for i, folder := range loadFolders {
		want, err := l.ledger.read(filepath.Join(copied, folder))
		if err != nil {
			t.Fatal(err)
		}
		compareServed(t, c, loadNames[i], want)
	}
}

func compareServed(t *testing.T, c *imapclient.Client, name string, want []stored) {
	t.Helper()
	if _, err := c.Select(name, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var all imap.UIDSet
	all.AddRange(1, 0)
	served := map[string]string{}
	if len(want) > 0 {
		found, err := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, Envelope: true}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range found {
			var flags []string
			for _, f := range m.Flags {
				if f != `\Recent` {
					flags = append(flags, string(f))
				}
			}
			slices.Sort(flags)
			served[m.Envelope.MessageID] = fmt.Sprintf("UID %d (%s)", m.UID, strings.Join(flags, " "))
		}
	}
	if len(served) != len(want) {
		t.Errorf("%s: %d messages are served, %d are there", name, len(served), len(want))
	}
	for _, m := range want {
		if m.uid == 0 {
			continue // it gets one now
		}
		if text := fmt.Sprintf("UID %d (%s)", m.uid, m.flags); served[m.id] != text {
			t.Errorf("%s: %s is served as %s, and is %s", name, m.id, served[m.id], text)
		}
	}
}
