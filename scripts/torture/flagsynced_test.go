package torture

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/scripts/coexist"
)

// TestFlagsSynced: a client that wants no mod-sequences need not wait for the disk at
// SELECT, as it is told one from before the changes that are not synced; but it sees no
// flag before the change is.
func TestFlagsSynced(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed; scripts/test-tools installs it")
	}
	m := newMaildird(t)
	trace := filepath.Join(m.Dir, "trace")
	startTraced(t, m, trace, "trace=write,fdatasync", "inject=fdatasync:delay_enter=500000") // µs
	c, err := coexist.Dial("maildird", m.Address("imap"), "alice@example.org", "secret")
	must(t, err)
	defer c.Close()
	const rounds = 3
	for i := range rounds {
		if i == 0 {
			_, err := c.Do("APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")
			must(t, err)
		} else {
			cur := filepath.Join(m.Home("alice@example.org"), "cur")
			names, err := os.ReadDir(cur)
			must(t, err)
			old := names[0].Name()
			must(t, os.Rename(filepath.Join(cur, old), filepath.Join(cur, flipped(old))))
			// Long enough ago that nobody looks again.
			at := time.Now().Add(time.Duration(i-rounds) * time.Minute)
			must(t, os.Chtimes(cur, at, at))
		}
		for _, command := range []string{"SELECT INBOX", "FETCH 1 (FLAGS)", "UNSELECT"} {
			_, err := c.Do("%s", command)
			must(t, err)
		}
	}
	endTraced(t, m)

	f, err := os.Open(trace)
	must(t, err)
	defer f.Close()
	syncing, fetched := map[string]bool{}, 0
	must(t, readTrace(f, func(c call) error {
		switch {
		case c.name == "fdatasync" && c.begun:
			syncing[c.thread] = true
		case c.name == "fdatasync":
			delete(syncing, c.thread)
		case c.begun:
			text, err := c.text(1)
			if err != nil {
				return nil // of something else, cut off
			}
			if strings.Contains(text, "* 1 FETCH (") {
				if fetched++; len(syncing) > 0 {
					t.Errorf("a flag is told while its change is being synced: %q", text)
				}
			}
		}
		return nil
	}))
	if fetched != rounds {
		t.Errorf("%d responses to FETCH, want %d", fetched, rounds)
	}
}

// flipped is a file name with \Flagged, or without if it has it.
func flipped(name string) string {
	if before, ok := strings.CutSuffix(name, ":2,F"); ok {
		return before + ":2,"
	}
	return name + "F"
}
