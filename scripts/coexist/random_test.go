package coexist

import (
	"context"
	"strings"
	"testing"
	"time"

	"maildird/maildir/folder"
)

// mailboxes returns the mailboxes in which the random operations take place.
func mailboxes() []string {
	return []string{
		"INBOX", "Archive", "Archive/2024", "With Space", "[Gmail]/All Mail",
		folder.EncodeUTF7("R&D"), folder.EncodeUTF7("Grüße"),
	}
}

// TestRandom lets everyone work on one Maildir at the same time: IMAP sessions of maildird and
// Dovecot, clients of maildird that reconnect with QRESYNC, LMTP of maildird and Dovecot, mutt,
// procmail, maildrop, and a shell with cp, mv and rm.
func TestRandom(t *testing.T) {
	site := newSite(t, Options{})
	must(t, site.MakeMaildir())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	random(t, site, duration(2*time.Minute), ours, dovecot)
}

// TestTwoMaildirds is TestRandom with two maildird processes that know nothing of each other,
// like two nodes on a shared file system.
func TestTwoMaildirds(t *testing.T) {
	site := newSite(t, Options{Maildirds: 2})
	must(t, site.MakeMaildir())
	one, two, dovecot := startMaildird(t, site, 0), startMaildird(t, site, 1), startDovecot(t, site)
	random(t, site, duration(45*time.Second), one, two, dovecot)
}

func duration(usual time.Duration) time.Duration {
	if *flagFor > 0 {
		return *flagFor
	}
	return usual
}

func random(t *testing.T, site *Site, d time.Duration, servers ...*Server) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().Unix())
	}
	t.Logf("seed %d, for %s", seed, d)
	folders := mailboxes()
	c := dial(t, servers[0])
	for _, name := range folders[1:] {
		_, err := c.Do("CREATE %s", quote(name))
		must(t, err)
	}
	trace, err := NewTrace(NewTree(site, folders))
	must(t, err)
	defer trace.Close()
	l := NewLedger()
	actors := cast(t, site, l, folders, servers)
	err = Run(context.Background(), l, seed, d, actors)
	report(t, l)
	if faults := l.Faults(); faults != nil {
		t.Error(faults)
		for _, id := range l.Named(faults.Error()) {
			tell(t, l, trace, id)
		}
	}
	must(t, err)
	if t.Failed() {
		return
	}

	// The sessions that took part must end with the same state as new ones.
	state := agree(t, What{ButSizes: true, ButUnnamed: true}, false, servers...)
	for _, a := range actors {
		switch a := a.(type) {
		case *imapActor:
			a.knows(t, state)
		case *resyncActor:
			if err := a.differs(state.Folders[a.folder]); err != nil {
				t.Error(err)
			}
		}
		a.Close()
	}
	if faults := l.Faults(); faults != nil {
		t.Error(faults)
	}
	state = agree(t, What{Dates: true, Subscribe: true, ButSizes: true, ButUnnamed: true}, false, servers...)
	t.Logf("%d messages have a keyword letter that only Dovecot gave a name", state.madeUp())
	for _, s := range servers {
		if strings.HasPrefix(s.Name, "maildird") {
			wrong, err := s.WrongSizes()
			must(t, err)
			if len(wrong) > 0 {
				t.Errorf("%s: %s", s.Name, strings.Join(wrong, "\n"))
			}
		}
	}
	for _, s := range servers {
		got, err := s.ReadFrom(true)
		must(t, err)
		acknowledged, present, err := l.Check(s.Name, got)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		t.Logf("%s: %d messages acknowledged, %d there", s.Name, acknowledged, present)
	}
	wrong, err := NewTree(site, folders).Check(l)
	if err != nil {
		t.Error(err)
	}
	for _, id := range wrong[:min(len(wrong), 3)] {
		tell(t, l, trace, id)
	}
	if list := l.Renumbered(); len(list) > 0 {
		t.Logf("%d messages were taken for gone and came back under another UID:\n%s", len(list), strings.Join(list, "\n"))
	}
	for line := range strings.Lines(site.DovecotLog()) {
		if !strings.Contains(line, "Info: ") {
			t.Logf("Dovecot's log: %s", strings.TrimSpace(line))
		}
	}
	if complaints := site.Complaints(); len(complaints) > 0 {
		t.Errorf("maildird complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// tell shows what was done with a message.
func tell(t *testing.T, l *Ledger, trace *Trace, id string) {
	t.Helper()
	t.Logf("what was done with %s:\n%s\nand with its files:\n%s", id, strings.Join(l.History(id), "\n"), strings.Join(trace.Of(id), "\n"))
}

// cast returns all actors.
func cast(t *testing.T, site *Site, l *Ledger, folders []string, servers []*Server) []Actor {
	var actors []Actor
	tree := NewTree(site, folders)
	for i, s := range servers {
		tag := strings.ToLower(strings.ReplaceAll(s.Name, " ", ""))
		sessions := 2
		if i > 0 && len(servers) > 2 {
			sessions = 1
		}
		for n := range sessions {
			actors = append(actors, NewIMAPActor(tag+"-imap-"+string(rune('a'+n)), s, l, tree, folders))
		}
		if strings.HasPrefix(s.Name, "maildird") {
			for n, f := range folders[:2] {
				actors = append(actors, NewResyncActor(tag+"-resync-"+string(rune('a'+n)), s, l, f))
			}
		}
		if s.LMTP != "" {
			actors = append(actors, NewLMTPActor(tag+"-lmtp", s, l))
		}
	}
	mutt, err := NewMuttActor("mutt", site, l, folders)
	must(t, err)
	return append(actors, mutt, NewAgentActor("agent", site, l, folders), NewFileActor("files", site, l, folders))
}

func report(t *testing.T, l *Ledger) {
	t.Logf("what was done:\n%s", strings.Join(l.Counts(), "\n"))
}

// knows checks that a session that was there all the time ends up with the same messages
// as a new one.
func (a *imapActor) knows(t *testing.T, s State) {
	t.Helper()
	if a.c == nil {
		return
	}
	f := s.Folders[a.v.folder]
	var want []uint32
	for _, m := range f.Messages {
		want = append(want, m.UID)
	}
	end := time.Now().Add(2 * time.Minute)
	for {
		err := a.v.Refresh()
		if a.server.HungUp(err, a.hangUps) {
			return // as in a step
		}
		must(t, err)
		if set(a.v.uids) == set(want) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s has in %s the messages\n%s\nthere are\n%s", a.name, a.v.folder, set(a.v.uids), set(want))
			return
		}
		time.Sleep(time.Second)
	}
}
