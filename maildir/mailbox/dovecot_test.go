package mailbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
	"maildird/scripts/rig"
	"maildird/scripts/rig/doveimap"
)

// dovecotBox is a folder that the real Dovecot can serve too, as its INBOX.
func dovecotBox(t *testing.T) *box { return &box{t: t, path: doveimap.Maildir(t)} }

// own gives what the test put there to Dovecot's user.
func (b *box) own() {
	b.t.Helper()
	must(b.t, rig.Own(b.path))
}

// has formats what one of the programs says of a message: UID, subject, flags.
func has(uid uint32, subject string, flags []string) string {
	slices.SortFunc(flags, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return fmt.Sprint(uid, " ", subject, " ", flags)
}

func dovecotSays(s *doveimap.Session) []string {
	var out []string
	for _, m := range s.Messages() {
		out = append(out, has(m.UID, m.Subject, m.Flags))
	}
	return out
}

var flagNames = map[filename.Flags]string{
	filename.Seen: `\Seen`, filename.Flagged: `\Flagged`, filename.Answered: `\Answered`, filename.Deleted: `\Deleted`, filename.Draft: `\Draft`,
}

func weSay(t *testing.T, c *client) []string {
	t.Helper()
	var out []string
	for _, m := range c.all() {
		var flags []string
		for f, name := range flagNames {
			if m.Flags&f != 0 {
				flags = append(flags, name)
			}
		}
		m.Flags.EachKeyword(func(i int) {
			if name, ok := c.v.KeywordName(i); ok {
				flags = append(flags, name)
			}
		})
		f, err := openText(c.v, m)
		must(t, err)
		text := make([]byte, f.Size)
		_, err = f.ReadAt(text, 0)
		must(t, err)
		must(t, f.Close())
		_, subject, _ := strings.Cut(string(text), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		out = append(out, has(m.UID, strings.TrimSpace(subject), flags))
	}
	return out
}

// agree compares what a new session of Dovecot and one of ours say of the folder.
func agree(t *testing.T, b *box, m *Mailbox, c *client, what string) {
	t.Helper()
	b.own()
	s := doveimap.Start(t, b.path)
	defer s.Close()
	st := s.Status("INBOX")
	s.Do("EXAMINE INBOX")
	theirs := dovecotSays(s)
	c.poll(true)
	if ours := weSay(t, c); !slices.Equal(ours, theirs) {
		t.Errorf("%s: Dovecot says\n  %s\nwe say\n  %s", what, strings.Join(theirs, "\n  "), strings.Join(ours, "\n  "))
	}
	if st.UIDValidity != m.UIDValidity() || st.UIDNext != m.UIDNext() || int(st.Messages) != len(theirs) {
		t.Errorf("%s: Dovecot says %+v, we say UIDVALIDITY %d, UIDNEXT %d", what, st, m.UIDValidity(), m.UIDNext())
	}
	quiet(t, s, what)
}

// quiet fails the test if Dovecot complained about a file.
func quiet(t *testing.T, s *doveimap.Session, what string) {
	t.Helper()
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, "uidlist") || strings.Contains(line, "keywords") || strings.Contains(line, "Error:") || strings.Contains(line, "Warning:") {
			t.Errorf("%s: Dovecot logged %s", what, line)
		}
	}
}

// change makes one of our sessions do everything that writes the list and the keywords.
func change(t *testing.T, m *Mailbox, c *client, round string) {
	t.Helper()
	for i := range 3 {
		in, err := m.NewIncoming(AppendOptions{Flags: filename.Flags(i) * filename.Seen, Keywords: []string{"$Label1", round}[:i%3]})
		must(t, err)
		fmt.Fprintf(in, "Subject: appended %d %s\r\n\r\nx\r\n", i, round)
		_, _, err = m.Append(ctx, Taken{}, in)
		must(t, err)
	}
	c.poll(true)
	n := len(c.uids)
	_, err := c.v.Store(ctx, []uint32{c.uids[0], c.uids[n-1]}, Add, filename.Answered, []string{"Custom-" + round, "$Forwarded"})
	must(t, err)
	_, err = c.v.Copy(ctx, []uint32{c.uids[0]}, m)
	must(t, err)
	_, err = c.v.Store(ctx, []uint32{c.uids[1]}, Add, filename.Deleted, nil)
	must(t, err)
	_, err = c.v.Expunge(ctx, nil)
	must(t, err)
}

// TestDovecotFirst and TestDovecotSecond: whichever program numbers a folder first, the
// other continues from there, through appends, rewrites and new keywords by both.
func TestDovecotFirst(t *testing.T) {
	b := dovecotBox(t)
	for range 5 {
		b.drop("new/")
	}
	b.own()
	s := doveimap.Start(t, b.path)
	s.Do("SELECT INBOX")
	s.Do(`UID STORE 2:3 +FLAGS (\Flagged NonJunk $Label5)`)
	s.Append("INBOX", `(\Seen Work)`, "theirs")
	st := s.Status("INBOX")
	s.Close()
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	if m.UIDValidity() != st.UIDValidity {
		t.Fatalf("UIDVALIDITY %d, Dovecot's is %d", m.UIDValidity(), st.UIDValidity)
	}
	agree(t, b, m, c, "as Dovecot left it")
	dovecotAndWe(t, b, m, c)
}

func TestDovecotSecond(t *testing.T) {
	b := dovecotBox(t)
	for range 5 {
		b.drop("cur/")
	}
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	agree(t, b, m, c, "as we left it")
	dovecotAndWe(t, b, m, c)
}

func dovecotAndWe(t *testing.T, b *box, m *Mailbox, c *client) {
	validity := m.UIDValidity()
	b.own()
	s := doveimap.Start(t, b.path)
	s.Do("SELECT INBOX")
	for _, round := range []string{"one", "two", "three"} {
		change(t, m, c, round)
		b.own()
		s.Do("NOOP")
		c.poll(true)
		if ours, theirs := weSay(t, c), dovecotSays(s); !slices.Equal(ours, theirs) {
			t.Errorf("%s: Dovecot's session says\n  %s\nwe say\n  %s", round, strings.Join(theirs, "\n  "), strings.Join(ours, "\n  "))
		}
		agree(t, b, m, c, "after we did round "+round)
		s.Append("INBOX", "(Theirs-"+round+" $label1)", "theirs "+round)
		s.Do("COPY 1:2 INBOX")
		s.Do(`STORE 1,3 +FLAGS (\Deleted)`)
		s.Do(`STORE 2 +FLAGS (Theirs-again-` + round + `)`)
		s.Do("EXPUNGE")
		agree(t, b, m, c, "after Dovecot did round "+round)
		b.drop("new/")
		b.drop("cur/")
	}
	s.Do("NOOP")
	agree(t, b, m, c, "at the end")
	if m.UIDValidity() != validity {
		t.Errorf("UIDVALIDITY was %d, is %d", validity, m.UIDValidity())
	}
	quiet(t, s, "the long session")
	s.Close()
}

// TestPushWithDovecot: idle sessions of both servers learn what the other does, without
// polling on our side.
func TestPushWithDovecot(t *testing.T) {
	b := dovecotBox(t)
	b.drop("cur/100.M1P1.h:2,")
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	b.own()
	s := doveimap.Start(t, b.path)
	s.Do("SELECT INBOX")
	hear := func(what, want string) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		var told []string
		for !slices.Contains(told, want) {
			select {
			case <-c.woke:
				told = append(told, c.poll(true)...)
			case <-deadline:
				t.Fatalf("%s: told %q within a minute, want %q", what, told, want)
			}
		}
	}
	c.poll(true)
	s.Append("INBOX", "", "theirs")
	hear("Dovecot's APPEND", "exists 2")
	s.Do(`STORE 1 +FLAGS (\Seen $Label3)`)
	hear("Dovecot's STORE", "flags 1 Sa")
	if _, ok := c.v.KeywordIndex("$Label3"); !ok {
		t.Errorf("keywords %q", c.v.KeywordNames())
	}
	s.Do(`STORE 2 +FLAGS (\Deleted)`)
	hear("Dovecot's STORE", "flags 2 T")
	s.Do("EXPUNGE")
	hear("Dovecot's EXPUNGE", "expunge 2")
	s.Idle(func() {
		in, err := m.NewIncoming(AppendOptions{})
		must(t, err)
		_, _, err = m.Append(ctx, Taken{}, in)
		must(t, err)
		b.own()
	}, "2 EXISTS")
	s.Idle(func() {
		_, err := c.v.Store(ctx, []uint32{1}, Add, filename.Flagged, []string{"Ours"})
		must(t, err)
	}, "Ours")
	quiet(t, s, "push")
	s.Close()
}

// oddNames returns file names such as other programs and people make them, in random order,
// for new/ or cur/.
func oddNames(rng *rand.Rand) []string {
	names := []string{
		"new/1700000000.M5P1.host", "new/1700000000.M40P1.host", "new/1700000000.M300P1.host", "new/1700000000.P1.host",
		"new/1700000000.1_0.host", "new/1699999999.M999999P1.host", "new/abc", "new/.hidden", "new/Mail from Bob", "new/1700000020",
		"new/00001700000001.M1P1.host", "new/9.M1P1.host", "new/10.M1P1.host", "new/1700000000.M5P1.host,U=7:2,FS", "new/1700000002.M1P1.host:2,",
		"cur/1700000000.M7P1.host:2,S", "cur/1700000000.M007P2.host:2,", "cur/1700000003.M1P1.host", "cur/1700000003.M0P1.host:2,RS", "cur/zzz:2,T",
		"cur/1700000004.M1P1.host:1,RS", "cur/1700000005.M1P1.host!2,S", "cur/1700000006.M1P1.host:2,Sx", "cur/-5.M1P1.host:2,", "cur/ 5:2,",
		"cur/1700000007.M1P1.host:2,S,x=1", "new/1700000008.M18446744073709551615P1.h", "new/1700000008.M2P1.h", "new/1700000009.m1P1.h", "new/1700000009.M1P1.h",
		"new/1700000010.P7M5.h", "cur/1700000010.M6.h:2,", "new/1700000011.z", "new/1700000011.\u00e4", "cur/1700000012.a:2,", "cur/1700000012.a.b:2,",
	}
	for range 40 {
		names = append(names, fmt.Sprintf("%s/%d.M%dP%d.h", []string{"new", "cur"}[rng.IntN(2)], 1700000100+rng.IntN(5), rng.IntN(2000), rng.IntN(1000)))
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// TestOrderOfDovecot: files that others drop get the UIDs that Dovecot would assign, and
// move from new/ to cur/ when Dovecot would move them, and under the same names.
func TestOrderOfDovecot(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	ours, theirs := dovecotBox(t), dovecotBox(t)
	names := oddNames(rng)
	drop := func(some []string) {
		for _, name := range some {
			ours.drop(name)
			theirs.drop(name)
		}
		ours.own()
		theirs.own()
	}
	drop(names[:len(names)/2])
	m := ours.open(newEnv(t))
	defer m.Close()
	s := doveimap.Start(t, theirs.path)
	same := func(what string) {
		t.Helper()
		a, b := ours.files(), theirs.files()
		for f := range a {
			if !b[f] {
				t.Errorf("%s: %s is not where Dovecot has it", what, f)
			}
		}
		for f := range b {
			if !a[f] {
				t.Errorf("%s: Dovecot has %s, we do not", what, f)
			}
		}
		if l, r := records(ours), records(theirs); !slices.Equal(l, r) {
			t.Errorf("%s: our UIDs are\n  %s\nDovecot's\n  %s", what, strings.Join(l, "\n  "), strings.Join(r, "\n  "))
		}
	}
	_, err := m.Status(ctx, false, ctx.Err)
	must(t, err)
	s.Do("STATUS INBOX (MESSAGES)")
	same("STATUS")
	examine := connect(t, m, true)
	s.Do("EXAMINE INBOX")
	same("EXAMINE")
	drop(names[len(names)/2 : len(names)*3/4])
	examine.poll(true)
	s.Do("NOOP")
	same("NOOP after EXAMINE")
	examine.v.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	s.Do("SELECT INBOX")
	same("SELECT")
	drop(names[len(names)*3/4:])
	c.poll(true)
	s.Do("NOOP")
	for deadline := time.Now().Add(time.Minute); inNew(ours) && time.Now().Before(deadline); {
		c.poll(true) // ours go to cur/ a little later
		time.Sleep(10 * time.Millisecond)
	}
	same("NOOP after SELECT")
	_, err = c.v.Store(ctx, c.uids, Add, filename.Flagged, nil)
	must(t, err)
	s.Do(`STORE 1:* +FLAGS (\Flagged)`)
	same("STORE")
	s.Close()
}

// inNew reports whether there is mail in new/.
func inNew(b *box) bool {
	for f := range b.files() {
		if strings.HasPrefix(f, "new/") {
			return true
		}
	}
	return false
}

// records returns the lines of a folder's list without their fields.
func records(b *box) []string {
	text, err := os.ReadFile(filepath.Join(b.path, uidlistName))
	must(b.t, err)
	var out []string
	for line := range strings.Lines(string(text)) {
		if uid, base, ok := strings.Cut(line, ":"); ok {
			uid, _, _ = strings.Cut(uid, " ")
			out = append(out, uid+" "+strings.TrimSuffix(base, "\n"))
		}
	}
	return out
}

// TestDovecotAndSnapshot: Dovecot reads the list of a restored snapshot, continues it and
// keeps the mark, so that maildird uses other UIDs when it comes later.
func TestDovecotAndSnapshot(t *testing.T) {
	b := dovecotBox(t)
	b.drop("cur/1700000001.M1P1.other:2,S")
	b.drop("cur/1700000002.M1P1.other:2,")
	h := uidlist.Header{UIDValidity: 1700000000, NextUID: 1000, GUID: "0123456789abcdef0123456789abcdef"}
	made := time.Now().Add(-time.Hour)
	h.MarkCopy(made)
	text := fmt.Sprintf("3 V%d N%d G%s %s\n7 :1700000001.M1P1.other\n9 :1700000002.M1P1.other\n", h.UIDValidity, h.NextUID, h.GUID, h.Extra[0])
	must(t, os.WriteFile(b.file(uidlistName), []byte(text), 0o600))
	b.own()
	s := doveimap.Start(t, b.path)
	s.Do("SELECT INBOX")
	s.Append("INBOX", "", "theirs")
	s.Do(`UID STORE 7 +FLAGS (\Deleted)`)
	s.Do("UID EXPUNGE 7")
	s.Append("INBOX", "", "theirs too") // with the second record of four gone it writes the list anew
	if st := s.Status("INBOX"); st.UIDValidity != h.UIDValidity || st.UIDNext != 1002 || st.Messages != 3 {
		t.Errorf("Dovecot says %+v", st)
	}
	quiet(t, s, "with the list of a snapshot")
	s.Close()
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	if least := uint32(1002 + 16*3600); m.UIDNext() < least || !slices.Equal(c.uids, []uint32{9, 1000, 1001}) {
		t.Errorf("UIDNEXT %d, want %d at least; messages %v", m.UIDNext(), least, c.uids)
	}
	next := m.UIDNext()
	s = doveimap.Start(t, b.path)
	defer s.Close()
	s.Do("SELECT INBOX")
	s.Append("INBOX", "", "at last")
	if msgs := s.Messages(); len(msgs) != 4 || msgs[3].UID != next {
		t.Errorf("Dovecot gives out UIDs anew: %v, want %d", msgs, next)
	}
	quiet(t, s, "after that")
}
