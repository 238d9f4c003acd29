package mailbox

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// offline is a client that keeps what it was told when it disconnects, and asks only for
// what it missed when it comes back (RFC 7162 section 6).
type offline struct {
	t     *testing.T
	cache map[uint32]filename.Flags
	since uint64
	next  uint32 // UIDs below are known
	v     *View  // nil while it is away
}

// come opens the mailbox and learns what happened since. It returns how many messages it
// was told of.
func (c *offline) come(m *Mailbox) (heard int) {
	c.t.Helper()
	v, err := m.NewView(ctx, false, nil)
	must(c.t, err)
	ok, err := v.EnableModSeq(ctx)
	must(c.t, err)
	if !ok || v.HighestModSeq() == 0 {
		c.t.Fatal("the mailbox has no mod-sequences")
	}
	c.v = v
	if c.since == 0 {
		c.cache, c.next = map[uint32]filename.Flags{}, 1
	} else {
		if c.since > v.HighestModSeq() {
			c.t.Fatalf("was told %d, the mailbox is at %d", c.since, v.HighestModSeq())
		}
		gone, err := v.Vanished(ctx, []Range{{1, c.next - 1}}, c.since)
		must(c.t, err)
		for _, r := range gone {
			for uid := r.First; uid <= r.Last; uid++ {
				delete(c.cache, uid)
				heard++
			}
		}
		for msg := range v.Messages([]Range{{1, c.next - 1}}, true) {
			if msg.ModSeq > c.since {
				c.cache[msg.UID] = msg.Flags
				heard++
			}
		}
	}
	c.fetchNew()
	c.since = v.HighestModSeq()
	return heard
}

func (c *offline) fetchNew() {
	for msg := range c.v.Messages([]Range{{c.next, ^uint32(0)}}, true) {
		if msg.ModSeq == 0 {
			c.t.Fatalf("UID %d has no mod-sequence", msg.UID)
		}
		c.cache[msg.UID] = msg.Flags
		c.next = msg.UID + 1
	}
}

// listen applies what there is to be told.
func (c *offline) listen(expunges bool) {
	c.t.Helper()
	must(c.t, c.v.Poll(ctx))
	before := c.since
	c.v.Updates(holdUnless(expunges), func(u Update) {
		switch u.Kind {
		case Expunge:
			delete(c.cache, u.UID)
		case Flags:
			// A change that was undone before it had a mod-sequence may be reported all the
			// same.
			if u.Message.ModSeq <= before && u.Message.Flags != c.cache[u.UID] {
				c.t.Fatalf("UID %d changed at %d, told were all changes up to %d", u.UID, u.Message.ModSeq, before)
			}
			c.cache[u.UID] = u.Message.Flags
		case Exists:
			c.fetchNew()
		}
	})
	c.since = c.v.HighestModSeq()
	if c.since < before {
		c.t.Fatalf("told %d after %d", c.since, before)
	}
}

func (c *offline) leave() {
	if c.v != nil {
		c.v.Close()
		c.v = nil
	}
}

// check compares what a client knows with the files.
func (c *offline) check(b *box) {
	c.t.Helper()
	var have, want []string
	for msg := range c.v.Messages([]Range{{1, ^uint32(0)}}, true) {
		e, err := c.v.m.location(msg)
		must(c.t, err)
		flags, ok := c.cache[msg.UID]
		if !ok {
			c.t.Fatalf("the client does not know of UID %d", msg.UID)
		}
		have = append(have, fmt.Sprintf("%s %x", filename.Base(e.name), uint32(flags)))
	}
	if len(have) != len(c.cache) {
		c.t.Fatalf("the client has %d messages of %d", len(c.cache), len(have))
	}
	for f := range b.files() {
		want = append(want, fmt.Sprintf("%s %x", filename.Base(path.Base(f)), uint32(filename.FlagsOf(path.Base(f)))))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		c.t.Fatalf("the client has\n  %s\nthe files are\n  %s", strings.Join(have, "\n  "), strings.Join(want, "\n  "))
	}
}

// TestResync lets two processes, which end and start again, and a program without locks
// change a folder, also while no process is looking; clients come and go, and whenever one
// comes back and hears what it missed, it knows exactly the files. Now and then the journal
// is lost.
func TestResync(t *testing.T) {
	seeded(t, 6, func(t *testing.T, seed uint64, one, two *Env) {
		r := newResync(t, seed, one, two)
		for range 250 {
			r.step()
		}
		for _, c := range r.clients {
			c.leave()
		}
		for i := range r.boxes {
			r.end(i)
		}
	})
}

// resync is the folder of TestResync and the programs that work on it.
type resync struct {
	*world
	envs    []*Env
	clients []*offline
	at      []int // which process a client is connected to
}

func newResync(t *testing.T, seed uint64, envs ...*Env) *resync {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 4711)), b: newBox(t), boxes: make([]*Mailbox, len(envs))}
	r := &resync{world: w, envs: envs, at: make([]int, 4)}
	for range 6 {
		w.b.drop("cur/")
	}
	for range r.at {
		r.clients = append(r.clients, &offline{t: t})
	}
	return r
}

func (r *resync) open(i int) *Mailbox {
	if r.boxes[i] == nil {
		r.boxes[i] = r.b.open(r.envs[i])
	}
	return r.boxes[i]
}

// end ends a process, with whatever it has not written.
func (r *resync) end(i int) {
	if r.boxes[i] == nil {
		return
	}
	for k, c := range r.clients {
		if c.v != nil && r.at[k] == i {
			c.leave()
		}
	}
	r.boxes[i].Close()
	r.boxes[i] = nil
}

func (r *resync) step() {
	switch r.rng.IntN(20) {
	case 0:
		r.end(r.rng.IntN(len(r.boxes)))
	case 1:
		if r.rng.IntN(3) == 0 {
			r.lose()
		}
	case 2, 3, 4, 5, 6:
		r.stranger()
	case 7, 8, 9, 10, 11:
		r.comeAndGo()
	case 12:
		r.unaware()
	default:
		r.act()
	}
}

// lose damages the journal in one of several ways.
func (r *resync) lose() {
	file := r.b.file(history.Name)
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	switch r.rng.IntN(4) {
	case 0:
		must(r.t, os.Remove(file))
	case 1: // an unfinished write
		must(r.t, os.WriteFile(file, append(data, 9, 0, 0, 0, 1, 2, 3), 0o600))
	case 2: // a copy of it
		must(r.t, os.WriteFile(file+".copy", data, 0o600))
		must(r.t, os.Rename(file+".copy", file))
	case 3:
		must(r.t, os.Truncate(file, int64(len(data)-1)))
	}
}

// comeAndGo lets a client that is away come back, which must then know everything, or one
// that is there listen or leave.
func (r *resync) comeAndGo() {
	k := r.rng.IntN(len(r.clients))
	c := r.clients[k]
	if c.v != nil {
		switch r.rng.IntN(4) {
		case 0:
			c.leave()
		case 1:
			c.listen(true)
			c.listen(true) // the first may have been put off by news of its own making
			c.check(r.b)
		default:
			c.listen(r.rng.IntN(2) == 0)
		}
		return
	}
	r.at[k] = r.rng.IntN(len(r.boxes))
	c.come(r.open(r.at[k]))
	c.check(r.b)
	if r.rng.IntN(3) == 0 { // it did not miss anything
		c.leave()
		if n := c.come(r.boxes[r.at[k]]); n > 0 {
			r.t.Fatalf("told of %d messages although nothing happened", n)
		}
		c.check(r.b)
	}
}

// unaware is a client that uses no mod-sequences but remembers the one that it was told
// when it opened the mailbox.
func (r *resync) unaware() {
	m := r.open(r.rng.IntN(len(r.boxes)))
	k := r.rng.IntN(len(r.clients))
	old := r.clients[k]
	old.leave()
	v, err := m.NewView(ctx, false, nil)
	must(r.t, err)
	since, err := v.TellModSeq(ctx)
	must(r.t, err)
	c := &offline{t: r.t, v: v, cache: map[uint32]filename.Flags{}, next: 1, since: since}
	c.fetchNew()
	r.stranger()
	must(r.t, v.Poll(ctx))
	v.Updates(0, func(u Update) {
		switch u.Kind {
		case Expunge:
			delete(c.cache, u.UID)
		case Flags:
			c.cache[u.UID] = u.Message.Flags
		case Exists:
			for msg := range v.Messages([]Range{{c.next, ^uint32(0)}}, true) {
				c.cache[msg.UID], c.next = msg.Flags, msg.UID+1
			}
		}
	})
	c.leave()
	r.clients[k] = c
}

// act lets a connected client change something.
func (r *resync) act() {
	k := r.rng.IntN(len(r.clients))
	c := r.clients[k]
	if c.v == nil {
		return
	}
	var uids []uint32
	for uid := range c.cache {
		if r.rng.IntN(3) == 0 {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	var err error
	switch r.rng.IntN(7) {
	case 0, 1:
		var done []Message
		done, err = c.v.Store(ctx, uids, Op(r.rng.IntN(3)), r.flags(), r.words())
		c.stored(done)
	case 2:
		r.storeUnchanged(c, uids)
	case 3:
		_, err = c.v.Expunge(ctx, uids)
	case 4:
		in, nerr := c.v.m.NewIncoming(AppendOptions{Flags: r.flags()})
		must(r.t, nerr)
		_, _ = io.WriteString(in, "Subject: appended\r\n\r\n")
		_, _, err = c.v.m.Append(ctx, Taken{}, in)
	case 5:
		_, err = c.v.Copy(ctx, uids[:min(len(uids), 2)], r.open(r.rng.IntN(len(r.boxes))))
	case 6:
		// Moved to the same mailbox: all get new UIDs.
		_, err = c.v.Move(ctx, uids[:min(len(uids), 2)], c.v.m)
	}
	if err != nil && !errors.Is(err, ErrGone) {
		r.t.Fatal(err)
	}
}

func (r *resync) words() []string {
	if r.rng.IntN(3) == 0 {
		return []string{fmt.Sprint("word", r.rng.IntN(5))}
	}
	return nil
}

// stored applies what STORE returned. It does not change from where the client asks when it
// comes back, because earlier changes by others may not have been reported yet.
func (c *offline) stored(done []Message) {
	for _, msg := range done {
		if msg.ModSeq == 0 {
			c.t.Fatalf("UID %d has no mod-sequence after STORE", msg.UID)
		}
		c.cache[msg.UID] = msg.Flags
	}
}

// storeUnchanged changes flags on condition that nothing changed that the client does not
// know, and checks that condition against the files.
func (r *resync) storeUnchanged(c *offline, uids []uint32) {
	c.listen(true)
	c.listen(true)
	uids = slices.DeleteFunc(uids, func(uid uint32) bool { _, ok := c.cache[uid]; return !ok })
	if r.rng.IntN(2) == 0 {
		r.stranger()
	}
	flagsOf := map[string]filename.Flags{}
	for f := range r.b.files() {
		flagsOf[filename.Base(path.Base(f))] = filename.FlagsOf(path.Base(f))
	}
	done, modified, err := c.v.StoreUnchangedSince(ctx, c.since, uids, Add, filename.Flagged, nil)
	must(r.t, err)
	for _, msg := range done {
		if was := flagsOf[string(c.v.m.t.Base(msg.row))]; was != c.cache[msg.UID] {
			r.t.Fatalf("UID %d was changed although its flags were %x, not %x as the client knew", msg.UID, was, c.cache[msg.UID])
		}
		if msg.Flags != c.cache[msg.UID]|filename.Flagged {
			r.t.Fatalf("UID %d has flags %x", msg.UID, msg.Flags)
		}
	}
	for _, msg := range modified {
		if flagsOf[string(c.v.m.t.Base(msg.row))] == c.cache[msg.UID] && msg.ModSeq <= c.since {
			r.t.Fatalf("UID %d was not changed although it was as the client knew", msg.UID)
		}
	}
	c.stored(done)
	c.stored(modified) // they are not told again
}

// vanished asks what was removed of everything that ever existed.
func (c *offline) vanished(since uint64) []Range {
	c.t.Helper()
	gone, err := c.v.Vanished(ctx, []Range{{1, ^uint32(0)}}, since)
	must(c.t, err)
	return gone
}
