package mailbox

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/filename"
)

func wantUpdates(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// both runs a test with file-system events and without.
func both(t *testing.T, f func(t *testing.T, env *Env)) {
	t.Run("watched", func(t *testing.T) { f(t, newEnv(t)) })
	t.Run("polled", func(t *testing.T) { f(t, unwatched(t)) })
}

func TestChangesByOthers(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h:2,S")
		b.drop("cur/200.M1P1.h:2,")
		b.drop("new/300.M1P1.h")
		c := b.session(env)
		if want := []uint32{1, 2, 3}; !slices.Equal(c.uids, want) {
			t.Fatalf("UIDs %v, want %v", c.uids, want)
		}
		if !b.files()["cur/300.M1P1.h:2,"] {
			t.Errorf("new mail was not moved to cur/: %v", b.files())
		}
		wantUpdates(t, c.poll(true))
		b.rename("cur/100.M1P1.h:2,S", "cur/100.M1P1.h:2,FS") // mutt changes a flag
		wantUpdates(t, c.poll(true), "flags 1 FS")
		b.remove("cur/200.M1P1.h:2,")
		wantUpdates(t, c.poll(false)) // not now: the client may count
		wantUpdates(t, c.poll(true), "expunge 2", "recent 2")
		b.drop("new/400.M1P1.h")
		wantUpdates(t, c.poll(true), "exists 3", "recent 3")
		// All at once, in one tick of the clock.
		b.remove("cur/100.M1P1.h:2,FS")
		b.drop("cur/500.M1P1.h:2,R")
		b.drop("cur/450.M1P1.h:2,T")
		b.rename("cur/300.M1P1.h:2,", "cur/300.M1P1.h:2,S")
		wantUpdates(t, c.poll(true), "expunge 1", "exists 4", "recent 4", "flags 1 S")
		if want := []uint32{3, 4, 5, 6}; !slices.Equal(c.uids, want) {
			t.Errorf("UIDs %v, want %v", c.uids, want)
		}
		// By the time in the name, not by the order of arrival.
		if last := c.all()[3]; last.Flags != filename.Answered {
			t.Errorf("the last message has flags %b", last.Flags)
		}
		wantUpdates(t, c.poll(true))
	})
}

// TestUIDsLast: what the files say survives the loss of everything but the files.
func TestUIDsLast(t *testing.T) {
	b := newBox(t)
	for range 20 {
		b.drop("cur/")
	}
	env := newEnv(t)
	m := b.open(env)
	c := connect(t, m, false)
	validity, first := m.UIDValidity(), c.list()
	if validity == 0 {
		t.Fatal("no UIDVALIDITY")
	}
	c.v.Close()
	m.Close()
	b.drop("cur/1.M1P1.older-than-all:2,")
	m = b.open(env)
	defer m.Close()
	c = connect(t, m, true)
	defer c.v.Close()
	if m.UIDValidity() != validity {
		t.Errorf("UIDVALIDITY was %d, is %d", validity, m.UIDValidity())
	}
	if want := append(first, 21); !slices.Equal(c.uids, want) {
		t.Errorf("UIDs %v, want %v", c.uids, want)
	}
}

func TestStore(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/100.M1P1.h,S=33:2,P,x=1")
		b.drop("cur/200.M1P1.h:2,")
		m := b.open(env)
		defer m.Close()
		one, two := connect(t, m, false), connect(t, m, false)
		defer one.v.Close()
		defer two.v.Close()
		step := func(op Op, f filename.Flags, words []string, want string) {
			t.Helper()
			got, err := one.v.Store(ctx, []uint32{1, 77}, op, f, words)
			must(t, err)
			if len(got) != 1 || got[0].UID != 1 || got[0].Seq != 1 {
				t.Errorf("Store gave %+v", got)
			}
			if !b.files()["cur/"+want] {
				t.Errorf("no file %q, but %v", want, b.files())
			}
			// Its own change is not reported, except for the name of a new keyword.
			if got := one.poll(true); len(got) > 0 && !slices.Equal(got, []string{"keywords"}) {
				t.Errorf("told %q of its own change", got)
			}
		}
		step(Add, filename.Seen, nil, "100.M1P1.h,S=33:2,PS,x=1")
		wantUpdates(t, two.poll(true), "flags 1 PS")
		step(Add, 0, []string{"$Label1"}, "100.M1P1.h,S=33:2,PSa,x=1")
		wantUpdates(t, two.poll(true), "keywords", "flags 1 PSa")
		step(Set, filename.Flagged, []string{"$label1", "Junk"}, "100.M1P1.h,S=33:2,Fab,x=1")
		step(Remove, filename.Flagged, []string{"junk", "never-seen"}, "100.M1P1.h,S=33:2,a,x=1")
		if got := m.names[:2]; !slices.Equal(got, []string{"$Label1", "Junk"}) {
			t.Errorf("keywords %q", got)
		}
		wantUpdates(t, two.poll(true), "keywords", "flags 1 a")
	})
}

// TestForwarded: P is other programs' $Forwarded, and is removed only when a client removes
// $Forwarded.
func TestForwarded(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,P")
	c := b.session(newEnv(t))
	for _, s := range []struct {
		op    Op
		words []string
		want  string
	}{
		{Add, []string{"$Forwarded"}, "cur/100.M1P1.h:2,Pa"},
		{Set, []string{"$forwarded"}, "cur/100.M1P1.h:2,Pa"},
		{Remove, []string{"$Forwarded"}, "cur/100.M1P1.h:2,"},
		{Add, []string{"$Forwarded"}, "cur/100.M1P1.h:2,a"},
	} {
		_, err := c.v.Store(ctx, []uint32{1}, s.op, 0, s.words)
		must(t, err)
		if !b.files()[s.want] {
			t.Errorf("want %s, have %v", s.want, b.files())
		}
	}
}

func TestKeywordLimit(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,")
	c := b.session(newEnv(t))
	for i := range 26 {
		_, err := c.v.Store(ctx, []uint32{1}, Add, 0, []string{"word" + string(rune('A'+i))})
		must(t, err)
	}
	if !c.v.KeywordsFull() {
		t.Error("26 keywords and not full")
	}
	before := b.files()
	if _, err := c.v.Store(ctx, []uint32{1}, Add, filename.Seen, []string{"one-more"}); !errors.Is(err, ErrKeywords) {
		t.Errorf("a 27th keyword: %v", err)
	}
	for f := range b.files() {
		if !before[f] {
			t.Errorf("%s was changed by a STORE that failed", f)
		}
	}
}

func TestExpunge(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		for _, n := range []string{"1.M1P1.h:2,T", "2.M1P1.h:2,", "3.M1P1.h:2,ST", "4.M1P1.h:2,T"} {
			b.drop("cur/" + n)
		}
		m := b.open(env)
		defer m.Close()
		one, two := connect(t, m, false), connect(t, m, true)
		defer one.v.Close()
		defer two.v.Close()
		gone, err := one.v.Expunge(ctx, []uint32{1, 2, 4})
		must(t, err)
		if want := []uint32{1, 4}; !slices.Equal(gone, want) {
			t.Errorf("removed %v, want %v", gone, want)
		}
		wantUpdates(t, one.poll(true), "expunge 1", "expunge 3", "recent 2")
		// The other session still counts four, and can ask for those left.
		if n := two.v.Exists(); n != 4 {
			t.Errorf("the other session has %d messages before it is told", n)
		}
		for msg := range two.v.Messages([]Range{{4, 4}}, false) {
			if msg.UID != 4 {
				t.Errorf("number 4 is UID %d", msg.UID)
			}
			if _, err := openText(two.v, msg); !errors.Is(err, ErrGone) {
				t.Errorf("opening an expunged message: %v", err)
			}
		}
		wantUpdates(t, two.poll(true), "expunge 1", "expunge 3")
		if _, err := two.v.Expunge(ctx, nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("EXPUNGE through a read-only view: %v", err)
		}
		gone, err = one.v.Expunge(ctx, nil)
		must(t, err)
		if want := []uint32{3}; !slices.Equal(gone, want) {
			t.Errorf("removed %v, want %v", gone, want)
		}
	})
}

func read(t *testing.T, c *client, uid uint32) string {
	t.Helper()
	for msg := range c.v.Messages([]Range{{uid, uid}}, true) {
		f, err := openText(c.v, msg)
		must(t, err)
		defer f.Close()
		text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
		must(t, err)
		return string(text)
	}
	t.Fatalf("no UID %d in the view", uid)
	return ""
}

func TestAppend(t *testing.T) {
	b := newBox(t)
	b.drop("cur/100.M1P1.h:2,")
	m := b.open(newEnv(t))
	defer m.Close()
	c := connect(t, m, false)
	defer c.v.Close()
	date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	var in []*Incoming
	for i, opt := range []AppendOptions{{Flags: filename.Seen, Keywords: []string{"w"}, Date: date}, {}} {
		one, err := m.NewIncoming(opt)
		must(t, err)
		_, err = io.WriteString(one, strings.Repeat("A: b\r\n", i+1)+"\r\nbody\r\n")
		must(t, err)
		in = append(in, one)
	}
	validity, uids, err := m.Append(ctx, Taken{}, in...)
	must(t, err)
	if validity != m.UIDValidity() || !slices.Equal(uids, []uint32{2, 3}) {
		t.Errorf("appended as %d/%v", validity, uids)
	}
	wantUpdates(t, c.poll(true), "keywords", "exists 3", "recent 3")
	if got := read(t, c, 2); got != "A: b\n\nbody\n" {
		t.Errorf("stored %q", got)
	}
	msgs := c.all()
	if got, err := c.v.Date(msgs[1]); err != nil || !got.Equal(date) {
		t.Errorf("INTERNALDATE %v, %v", got, err)
	}
	if n, err := c.v.Size(msgs[1], ctx.Err); err != nil || n != 14 {
		t.Errorf("size %d, %v, want 14", n, err)
	}
	if msgs[1].Flags != filename.Seen|filename.Keyword(0) || msgs[2].Flags != 0 || !msgs[2].Recent {
		t.Errorf("flags %+v", msgs)
	}
	in1, err := m.NewIncoming(AppendOptions{})
	must(t, err)
	_, _ = io.WriteString(in1, "half a mess")
	in1.Abort()
	left, err := os.ReadDir(b.file("tmp"))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left in tmp/: %v", left)
	}
}

// TestAppendBinary: parts of arbitrary octets are stored in base64, compressed or not, and
// the text as written is kept only for a moment.
func TestAppendBinary(t *testing.T) {
	const head = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: "
	for _, format := range []compress.Format{compress.None, compress.Gzip} {
		b, env := newBox(t), newEnv(t)
		env.Delivery.Compress = format
		m := b.open(env)
		defer m.Close()
		c := connect(t, m, false)
		defer c.v.Close()
		one, err := m.NewIncoming(AppendOptions{Binary: true})
		must(t, err)
		_, err = io.WriteString(one, head+"binary\r\n\r\n\x00\r\n\n")
		must(t, err)
		half, err := m.NewIncoming(AppendOptions{Binary: true})
		must(t, err)
		_, err = io.WriteString(half, "half a mess")
		must(t, err)
		half.Abort()
		_, _, err = m.Append(ctx, Taken{}, one)
		must(t, err)
		c.poll(true)
		want := strings.ReplaceAll(head+"base64\r\n\r\nAA0KCg==\r\n", "\r\n", "\n")
		if got := read(t, c, 1); got != want {
			t.Errorf("stored %q, expected %q", got, want)
		}
		if left, err := os.ReadDir(b.file("tmp")); err != nil || len(left) != 0 {
			t.Errorf("left in tmp/: %v, %v", left, err)
		}
	}
}

func TestCopyAndMove(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		a, b := newBox(t), newBox(t)
		a.drop("cur/100.M1P1.h:2,S")
		a.drop("cur/200.M1P1.h,U=7:2,")
		a.drop("cur/300.M1P1.h:2,F")
		b.drop("cur/300.M1P1.h:2,")
		src, dst := a.open(env), b.open(env)
		defer src.Close()
		defer dst.Close()
		c, d := connect(t, src, false), connect(t, dst, false)
		defer c.v.Close()
		defer d.v.Close()
		_, err := c.v.Store(ctx, []uint32{1}, Add, 0, []string{"zero"})
		must(t, err)
		_, err = d.v.Store(ctx, []uint32{1}, Add, 0, []string{"one", "two", "ZERO"})
		must(t, err)
		got, err := c.v.Copy(ctx, []uint32{1, 2, 3, 99}, dst)
		must(t, err)
		if !slices.Equal(got.Source, []uint32{1, 2, 3}) || !slices.Equal(got.Dest, []uint32{2, 3, 4}) || got.UIDValidity != dst.UIDValidity() {
			t.Errorf("copied %+v", got)
		}
		if updates := d.poll(true); !slices.Contains(updates, "exists 4") {
			t.Errorf("told %q", updates)
		}
		// The keyword has another letter there; a plain base is kept.
		if !b.files()["cur/100.M1P1.h:2,Sc"] {
			t.Errorf("copies: %v", b.files())
		}
		for f := range b.files() {
			if strings.Contains(f, "U=7") {
				t.Errorf("%s carries another folder's UID of mbsync", f)
			}
		}
		if got := read(t, d, 3); got != read(t, c, 2) {
			t.Errorf("copy of UID 2 differs: %q", got)
		}
		moved, err := c.v.Move(ctx, []uint32{2, 3}, dst)
		must(t, err)
		if !slices.Equal(moved.Dest, []uint32{5, 6}) {
			t.Errorf("moved %+v", moved)
		}
		wantUpdates(t, c.poll(true), "keywords", "expunge 2", "expunge 2", "recent 1")
		if len(a.files()) != 1 || len(b.files()) != 6 {
			t.Errorf("after MOVE: %v and %v", a.files(), b.files())
		}
		// Into itself.
		again, err := c.v.Copy(ctx, []uint32{1}, src)
		must(t, err)
		if !slices.Equal(again.Dest, []uint32{4}) || len(a.files()) != 2 {
			t.Errorf("copied into itself as %+v: %v", again, a.files())
		}
	})
}

// TestRecent: a message is recent to one session that can change the mailbox,
// and EXAMINE and STATUS leave new mail alone.
func TestRecent(t *testing.T) {
	b := newBox(t)
	b.drop("new/100.M1P1.h")
	m := b.open(newEnv(t))
	defer m.Close()
	st, err := m.Status(ctx, true, ctx.Err)
	must(t, err)
	if st.Messages != 1 || st.Recent != 1 || st.Unseen != 1 || st.UIDNext != 2 || st.Size == 0 {
		t.Errorf("STATUS %+v", st)
	}
	examine := connect(t, m, true)
	defer examine.v.Close()
	if examine.v.Recent() != 1 || !b.files()["new/100.M1P1.h"] {
		t.Errorf("EXAMINE: %d recent, files %v", examine.v.Recent(), b.files())
	}
	first := connect(t, m, false)
	defer first.v.Close()
	second := connect(t, m, false)
	defer second.v.Close()
	if first.v.Recent() != 1 || second.v.Recent() != 0 {
		t.Errorf("recent: %d to the first session, %d to the second", first.v.Recent(), second.v.Recent())
	}
	if !b.files()["cur/100.M1P1.h:2,"] {
		t.Errorf("files %v", b.files())
	}
}

func TestNotified(t *testing.T) {
	b := newBox(t)
	c := b.session(newEnv(t))
	b.drop("new/")
	select {
	case <-c.woke:
	case <-time.After(time.Minute):
		t.Fatal("nobody woke the session")
	}
	wantUpdates(t, c.poll(true), "exists 1", "recent 1")
}

// TestFolderRemoved: the session is told, and nothing hangs.
func TestFolderRemoved(t *testing.T) {
	both(t, func(t *testing.T, env *Env) {
		b := newBox(t)
		b.drop("cur/")
		c := b.session(env)
		must(t, os.RemoveAll(b.path))
		if err := c.v.Poll(ctx); !errors.Is(err, ErrReplaced) {
			t.Errorf("Poll of a removed mailbox: %v", err)
		}
	})
}
