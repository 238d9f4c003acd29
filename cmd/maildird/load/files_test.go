package load

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// TestManyFiles: a user has a folder with a huge number of files. It is served, its memory is
// limited, and other users are served in the meantime.
func TestManyFiles(t *testing.T) {
	n := several(50_000, 1_000_000)
	m := start(t, 2*perUser)
	home := m.Home(user(perUser))
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	plantMany(t, home, n)
	if err := rig.Own(filepath.Join(m.Dir, "mail")); err != nil {
		t.Fatal(err)
	}
	good := startGood(t, m)
	before := memory(t, m, "status", "VmRSS")
	good.took()
	for _, what := range []string{"first", "second"} {
		began := time.Now()
		c, err := dial(m, "imap", perUser)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range [][2]string{
			{"", "* OK"}, {fmt.Sprintf("a LOGIN %s %q\r\n", user(perUser), password), "a OK"}, {"b SELECT INBOX\r\n", fmt.Sprintf("* %d EXISTS", n)}, {"", "b OK"},
			{fmt.Sprintf("c FETCH %d (FLAGS RFC822.SIZE BODY.PEEK[])\r\n", n), "* "}, {"", "Subject: many"}, {"", ""}, {"", "x"}, {"", ")"}, {"", "c OK"},
			{"d STORE 1 +FLAGS (\\Flagged)\r\n", "d OK"}, {"e STATUS INBOX (MESSAGES UNSEEN SIZE)\r\n", "e OK"}, {"f SEARCH UNSEEN LARGER 100000\r\n", "f OK"},
		} {
			if err := c.say(step[0], step[1]); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s session: %s for %d files", what, time.Since(began).Round(time.Millisecond), n)
		defer c.Close()
	}
	took := good.took()
	rss := memory(t, m, "status", "VmHWM")
	t.Logf("%s; %d MiB RSS before, %d at most", took, before>>10, rss>>10)
	if rss > before+64<<10+n/2 { // half a KiB per message
		t.Errorf("the server took %d MiB for %d files", rss>>10, n)
	}
	if worst := took.at(1); worst > slowest {
		t.Errorf("a NOOP of another user took %s", worst)
	}
}

// plantMany creates n message files in a Maildir: hard links, which any user can create.
func plantMany(t *testing.T, home string, n int) {
	const perFile = 30_000 // file systems limit the number of links to a file
	var first string
	for i := range n {
		name := filepath.Join(home, "cur", fmt.Sprintf("17%08d.M1P1.many:2,", i))
		if i%perFile == 0 {
			first = name
			if err := os.WriteFile(name, []byte("Subject: many\n\nx\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.Link(first, name); err != nil {
			t.Fatal(err)
		}
	}
}
