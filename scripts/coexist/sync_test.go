package coexist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/folder"
	"maildird/scripts/rig"
)

// populated prepares a site with a Maildir that contains mail in some of the difficult folders.
func populated(t *testing.T, messages int, folders ...[]string) *Site {
	t.Helper()
	if folders == nil {
		folders = [][]string{{"R&D"}, {"[Gmail]", "All Mail"}, {"Grüße"}, {"Lists"}, {"Archive"}, {`quo"te`}, {`back\slash`}}
	}
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	c := Corpus{Root: site.Root, Folders: folders, Messages: messages, Subscribe: "v2", Undeleted: true}
	must(t, c.Write())
	must(t, site.Own())
	return site
}

func home(t *testing.T, site *Site, name string) string {
	t.Helper()
	dir := filepath.Join(site.Dir(), name)
	must(t, os.Mkdir(dir, 0o755))
	must(t, rig.Own(dir))
	return dir
}

func same(t *testing.T, what string, before, after []string) {
	t.Helper()
	if slices.Equal(before, after) {
		return
	}
	var gone, come []string
	for _, f := range before {
		if !slices.Contains(after, f) {
			gone = append(gone, f)
		}
	}
	for _, f := range after {
		if !slices.Contains(before, f) {
			come = append(come, f)
		}
	}
	t.Errorf("%s: gone\n  %s\nnew\n  %s", what, strings.Join(gone, "\n  "), strings.Join(come, "\n  "))
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := mailFiles(dir)
	must(t, err)
	return list
}

// TestMbsync synchronises an account with a separate Maildir: what has been synchronised is not
// transferred again, whether maildird or Dovecot serves it afterwards.
func TestMbsync(t *testing.T) {
	site := populated(t, 240)
	m, err := NewMbsync(home(t, site, "mbsync"))
	must(t, err)
	ours := startMaildird(t, site, 0)
	run := func(s *Server) Transfers {
		t.Helper()
		got, err := m.Sync(s)
		must(t, err)
		return got
	}
	first := run(ours)
	if first.Near[0] != 240 {
		t.Errorf("the first run stored %d messages of 240: %+v", first.Near[0], first)
	}
	nothing := func(s *Server, when string) {
		t.Helper()
		before := files(t, m.Home)
		if got := run(s); !got.None() {
			t.Errorf("%s, mbsync transferred %+v", when, got)
		}
		same(t, when, before, files(t, m.Home))
	}
	nothing(ours, "in the second run")
	change(t, ours, "/", "between")
	if got := run(ours); got.None() {
		t.Error("changes on the server were not seen")
	}
	nothing(ours, "after changes")
	must(t, site.StopMaildird(0))
	dovecot := startDovecot(t, site)
	nothing(dovecot, "after Dovecot took over")
	change(t, dovecot, "/", "dovecot")
	run(dovecot)
	must(t, site.StopDovecot())
	nothing(startMaildird(t, site, 0), "after maildird took over again")
	t.Logf("first run %+v, then nothing", first)
}

// TestOfflineimap is TestMbsync with offlineimap.
func TestOfflineimap(t *testing.T) {
	// offlineimap only quotes names that contain spaces.
	site := populated(t, 150, []string{"With Space"}, []string{"R&D"}, []string{"[Gmail]", "All Mail"}, []string{"Grüße"},
		[]string{`back\slash`}, []string{"star*per%cent"})
	o, err := NewOfflineimap(home(t, site, "offlineimap"))
	must(t, err)
	ours := startMaildird(t, site, 0)
	run := func(s *Server) []string {
		t.Helper()
		got, err := o.Sync(s)
		must(t, err)
		return got
	}
	if got := run(ours); len(got) < 150 {
		t.Errorf("the first run copied %d messages of 150:\n%s", len(got), strings.Join(got, "\n"))
	}
	nothing := func(s *Server, when string) {
		t.Helper()
		before := files(t, o.Home)
		if got := run(s); len(got) > 0 {
			t.Errorf("%s, offlineimap did\n%s", when, strings.Join(got, "\n"))
		}
		same(t, when, before, files(t, o.Home))
	}
	nothing(ours, "in the second run")
	must(t, site.StopMaildird(0))
	nothing(startDovecot(t, site), "after Dovecot took over")
}

// TestMbsyncOnOurMaildir: mbsync uses the Maildir that maildird serves as its local store and
// synchronises it with another account, while sessions are open.
func TestMbsyncOnOurMaildir(t *testing.T) {
	for _, altMap := range []bool{true, false} {
		name := "AltMap"
		if !altMap {
			name = "renaming"
		}
		t.Run(name, func(t *testing.T) { testMbsyncLocal(t, altMap) })
	}
}

func testMbsyncLocal(t *testing.T, altMap bool) {
	elsewhere := populated(t, 60, []string{"With Space"}, []string{"R&D"}, []string{"[Gmail]", "All Mail"})
	far := startDovecot(t, elsewhere)
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	m, err := NewMbsync(home(t, site, "mbsync"))
	must(t, err)

	l := NewLedger()
	v := NewView(dial(t, ours), l)
	c := dial(t, ours)
	for i := range 10 {
		text := sprintf("Message-ID: <local%d@x.test>\r\n\r\nhello\r\n", i)
		_, err := c.Do("APPEND INBOX (\\Seen) {%d+}\r\n%s", len(text), text)
		must(t, err)
	}
	must(t, v.Select("INBOX"))
	before := agree(t, What{ButForwarded: true}, false, ours, dovecot)

	run := func() Transfers {
		t.Helper()
		got, err := m.SyncMaildir(far, site.Root, altMap)
		must(t, err)
		return got
	}
	first := run()
	if first.Near[0] != 60 || first.Far[0] != 10 {
		t.Errorf("the first run did %+v", first)
	}
	state := agree(t, What{ButForwarded: true}, false, ours, dovecot)
	if _, n := state.Count(); n != 70 {
		t.Errorf("%d messages of 70", n)
	}
	inbox := state.Folders["INBOX"]
	if altMap && !slices.EqualFunc(before.Folders["INBOX"].Messages, inbox.Messages[:10], func(a, b Message) bool { return a.String() == b.String() }) {
		t.Errorf("messages that were there before are\n%v\nthey were\n%v", inbox.Messages[:10], before.Folders["INBOX"].Messages)
	}
	if got := run(); !got.None() {
		t.Errorf("the second run transferred %+v", got)
	}
	must(t, v.Refresh())
	if n := len(v.uids); n != len(inbox.Messages) {
		t.Errorf("the session that was open has %d messages of %d", n, len(inbox.Messages))
	}

	// Changes are synchronised in both directions, made through maildird's IMAP
	// or in the files.
	_, err = v.c.Do("UID STORE %d +FLAGS.SILENT (\\Flagged)", v.uids[0])
	must(t, err)
	_, err = v.c.Do("UID STORE %d +FLAGS.SILENT (\\Deleted)", v.uids[1])
	must(t, err)
	_, err = v.c.Do("EXPUNGE")
	must(t, err)
	there := dial(t, far)
	_, err = there.Do("SELECT %s", quote(folder.EncodeUTF7("R&D")))
	must(t, err)
	_, err = there.Do("STORE 1 +FLAGS.SILENT (\\Deleted \\Answered)")
	must(t, err)
	_, err = there.Do("EXPUNGE")
	must(t, err)
	got := run()
	// A removal counts as the flag \Deleted.
	if got.Far[1] < 2 || got.Near[1] < 1 {
		t.Errorf("a flag and two removals were transferred as %+v", got)
	}
	state = agree(t, What{ButForwarded: true}, false, ours, dovecot)
	if _, n := state.Count(); n != 68 {
		t.Errorf("%d messages of 68", n)
	}
	if got := run(); !got.None() {
		t.Errorf("the last run transferred %+v", got)
	}
	must(t, l.Faults())
	if complaints := site.Complaints(); len(complaints) > 0 {
		t.Errorf("maildird complains:\n%s", strings.Join(complaints, "\n"))
	}
}
