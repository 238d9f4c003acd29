package coexist

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// watcher is a session that waits in IDLE and records the notifications, as Thunderbird does
// for each of its folders.
type watcher struct {
	server string
	v      *View
	told   []string
}

func watch(t *testing.T, s *Server, folder string) *watcher {
	t.Helper()
	w := &watcher{server: s.Name, v: NewView(dial(t, s), NewLedger())}
	must(t, w.v.Select(folder))
	return w
}

// until waits in IDLE until the view is as wanted. It requests nothing: the session only knows
// what the server reports by itself.
func (w *watcher) until(t *testing.T, what string, as func(v *View) bool) {
	t.Helper()
	began := time.Now()
	end := began.Add(4 * time.Minute)
	defer func() {
		t.Logf("%s told of %s in %s after %s", w.server, what, w.v.folder, time.Since(began).Round(10*time.Millisecond))
	}()
	for !as(w.v) {
		if time.Now().After(end) {
			t.Fatalf("%s did not tell its IDLE session in %s: %s; told so far: %q", w.server, w.v.folder, what, w.told)
		}
		err := w.v.c.Idle(time.Until(end), func(r Response) bool {
			w.told = append(w.told, r.Text)
			return as(w.v) || slices.Contains(w.v.uids, 0)
		})
		must(t, err)
		must(t, w.v.learn())
	}
	must(t, w.v.ledger.Faults())
}

// flagged reports whether the last flags reported for a message include flag.
func (w *watcher) flagged(flag string) func(*View) bool {
	return func(*View) bool {
		return slices.ContainsFunc(w.told, func(line string) bool {
			return strings.Contains(line, "FETCH") && strings.Contains(line, flag)
		})
	}
}

// TestMutt reads, flags, saves and deletes messages with mutt while sessions of both
// servers wait in IDLE.
func TestMutt(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	c := dial(t, ours)
	_, err := c.Do("CREATE Saved")
	must(t, err)
	for i := range 6 {
		text := sprintf("Message-ID: <m%d@x.test>\r\nDate: Mon, 2 Nov 2026 10:00:0%d +0000\r\n\r\nhello\r\n", i, i)
		_, err := c.Do("APPEND INBOX {%d+}\r\n%s", len(text), text)
		must(t, err)
	}
	tree := NewTree(site, []string{"INBOX", "Saved"})
	mutt, err := NewMutt(site, tree, "mutt")
	must(t, err)
	var inboxes, saved []*watcher
	for _, s := range []*Server{ours, dovecot} {
		inboxes = append(inboxes, watch(t, s, "INBOX"))
		saved = append(saved, watch(t, s, "Saved"))
	}
	all := func(list []*watcher, what string, as func(w *watcher) func(*View) bool) {
		t.Helper()
		for _, w := range list {
			w.until(t, what, as(w))
			w.told = nil
		}
	}
	has := func(n int) func(*watcher) func(*View) bool {
		return func(*watcher) func(*View) bool { return func(v *View) bool { return len(v.Known()) == n } }
	}

	must(t, mutt.Run("INBOX", tagged("m0@x.test", "<flag-message>")+"<sync-mailbox><exit>", true))
	all(inboxes, "a flag", func(w *watcher) func(*View) bool { return w.flagged(`\Flagged`) })
	must(t, mutt.Run("INBOX", tagged("m1@x.test", "<save-message>"+mutt.links["Saved"]+"<enter>")+"<sync-mailbox><exit>", true))
	all(inboxes, "a message that was saved elsewhere", has(5))
	all(saved, "a message that was saved here", has(1))
	must(t, mutt.Run("INBOX", tagged("m2@x.test", "<delete-message>")+"<sync-mailbox><exit>", false))
	all(inboxes, "a deletion", has(4))
	must(t, mutt.Run("Saved", tagged("m1@x.test", "<copy-message>"+mutt.links["INBOX"]+"<enter>")+"<sync-mailbox><exit>", false))
	all(inboxes, "a copy", has(5))

	// Conversely, Dovecot's sessions notice changes by maildird, and maildird's
	// sessions those by Dovecot.
	for i, s := range []*Server{ours, dovecot} {
		do := dial(t, s)
		for _, command := range []string{
			"SELECT INBOX", `STORE 2 +FLAGS.SILENT (\Answered)`, sprintf(`STORE 3 +FLAGS.SILENT (Keyword%d)`, i),
			"MOVE 1 Saved", `STORE 1 +FLAGS.SILENT (\Deleted)`, "EXPUNGE",
		} {
			_, err := do.Do("%s", command)
			must(t, err)
		}
		all(inboxes, "what another session did", func(w *watcher) func(*View) bool {
			return func(v *View) bool {
				return len(v.Known()) == 5-2*(i+1) && w.flagged(sprintf("Keyword%d", i))(v)
			}
		})
		all(saved, "what another session moved here", has(2+i))
	}
	// The same for files that are added and removed directly.
	drop := filepath.Join(site.Root, ".Saved", "new", "1700000000.1.byhand")
	must(t, os.WriteFile(drop, []byte("Message-ID: <dropped@x.test>\n\nhi\n"), 0o644))
	must(t, site.Own())
	all(saved, "a file that was dropped", has(4))
	files, err := tree.list("Saved")
	must(t, err)
	for _, f := range files {
		if id, err := tree.id(f); err == nil && id == "dropped@x.test" {
			must(t, os.Remove(tree.path(f)))
		}
	}
	all(saved, "a file that was removed", has(3))
	agree(t, What{}, false, ours, dovecot)
}

// TestNotmuch indexes the tree that both servers serve: tags become flags that they show, flags
// that they set become tags, and neither server shows notmuch's directory as a mailbox.
func TestNotmuch(t *testing.T) {
	site := populated(t, 60)
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	home := home(t, site, "notmuch")
	config := filepath.Join(home, "config")
	text := sprintf("[database]\npath=%s\n[user]\nname=A\nprimary_email=a@x.test\n[new]\ntags=new;unread\nignore=/dovecot.*/\n[maildir]\nsynchronize_flags=true\n", site.Root)
	must(t, os.WriteFile(config, []byte(text), 0o644))
	notmuch := func(args ...string) string {
		t.Helper()
		out, err := runTool(home, "notmuch", append([]string{"--config=" + config}, args...)...)
		must(t, err)
		return out
	}
	before := agree(t, What{}, false, ours, dovecot)
	v := NewView(dial(t, ours), NewLedger())
	must(t, v.Select("INBOX"))
	notmuch("new")
	after := agree(t, What{}, false, ours, dovecot)
	_, n := before.Count()
	if _, m := after.Count(); m != n {
		t.Fatalf("%d messages after notmuch new, %d before", m, n)
	}
	for name, f := range before.Folders {
		for i, m := range f.Messages {
			if got := after.Folders[name].Messages[i]; got.UID != m.UID || got.ID != m.ID {
				t.Errorf("in %s %v is %v after notmuch new", name, m, got)
			}
		}
	}
	list, err := dial(t, ours).Do(`LIST "" *`)
	must(t, err)
	for _, r := range list {
		if strings.Contains(r.Text, "notmuch") {
			t.Errorf("notmuch's own directory is listed: %s", r.Text)
		}
	}

	// A tag becomes a flag.
	id := v.ids[v.uids[0]]
	notmuch("tag", "+flagged", "-unread", "+replied", "--", "id:"+id)
	flags := func(s State, id string) []string {
		for _, f := range s.Folders {
			for _, m := range f.Messages {
				if m.ID == id {
					return m.Flags
				}
			}
		}
		return nil
	}
	got := flags(agree(t, What{}, false, ours, dovecot), id)
	for _, want := range []string{`\Flagged`, `\Seen`, `\Answered`} {
		if !slices.Contains(got, want) {
			t.Errorf("%s has the flags %v after it was tagged, not %s", id, got, want)
		}
	}
	// A flag becomes a tag.
	_, err = v.c.Do(`UID STORE %d -FLAGS.SILENT (\Flagged \Seen)`, v.uids[0])
	must(t, err)
	other := v.ids[v.uids[1]]
	_, err = v.c.Do(`UID STORE %d FLAGS.SILENT (\Flagged \Seen)`, v.uids[1])
	must(t, err)
	notmuch("new")
	if tags := notmuch("search", "--output=tags", "id:"+id); !strings.Contains(tags, "unread") || strings.Contains(tags, "flagged") {
		t.Errorf("%s has the tags %q", id, tags)
	}
	if tags := notmuch("search", "--output=tags", "id:"+other); strings.Contains(tags, "unread") || !strings.Contains(tags, "flagged") {
		t.Errorf("%s has the tags %q", other, tags)
	}
	agree(t, What{}, false, ours, dovecot)
}
