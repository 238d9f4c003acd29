package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
)

// liveClient is a client that keeps what it was told when it disconnects, and asks only for
// what it missed when it comes back (RFC 7162 section 6).
type liveClient struct {
	w        *lives
	at       int // number of its process
	a        *Account
	m        *Mailbox
	v        *mailbox.View
	lin      *lineage
	validity uint32
	since    uint64
	next     uint32 // UIDs below are known
	cache    map[uint32]string
}

func (c *liveClient) leave() {
	if c.v == nil {
		return
	}
	c.v.Close()
	c.m.Release()
	c.a.Release()
	c.v = nil
}

// name returns the current name of the client's folder, "" if it is gone.
func (c *liveClient) name() string {
	for name, l := range c.w.folders {
		if l == c.lin {
			return name
		}
	}
	return ""
}

func (c *liveClient) comeAndGo() {
	w := c.w
	if c.v != nil {
		switch w.rng.IntN(4) {
		case 0:
			c.leave()
		case 1:
			c.check()
		default:
			c.listen(w.rng.IntN(2) == 0)
		}
		return
	}
	c.come()
	c.check()
}

// ended reports whether the mailbox has ended, as it may when its folder was renamed or
// removed.
func (c *liveClient) ended(err error) bool {
	if err == nil {
		return false
	}
	if !errors.Is(err, mailbox.ErrReplaced) {
		c.w.t.Fatal(err)
	}
	c.leave()
	return true
}

// come opens a mailbox and learns what happened since.
func (c *liveClient) come() {
	w := c.w
	name := c.name()
	if name == "" || w.rng.IntN(10) == 0 {
		name = w.anyFolder()
		c.lin, c.validity = w.folders[name], 0
	}
	ctx := context.Background()
	c.at = w.rng.IntN(2)
	c.a = w.account(c.at)
	m, err := c.a.Open(ctx, name)
	w.must(err)
	c.m = m
	c.v, err = m.NewView(ctx, false, nil)
	w.must(err)
	ok, err := c.v.EnableModSeq(ctx)
	w.must(err)
	highest, validity := c.v.HighestModSeq(), c.v.UIDValidity()
	if !ok || highest == 0 || validity == 0 {
		w.t.Fatalf("%s has no mod-sequences or no UIDVALIDITY", name)
	}
	w.did("client comes to %s (process %d): UIDVALIDITY %d, HIGHESTMODSEQ %d, knows %d, %d", name, c.at, validity, highest, c.validity, c.since)
	c.validities(name, validity)
	if validity != c.validity {
		c.validity, c.since, c.next, c.cache = validity, 0, 1, map[uint32]string{}
	}
	if c.since > highest || c.lin.highest[validity] > highest {
		w.t.Fatalf("%s: HIGHESTMODSEQ is %d, was told %d, and others %d", name, highest, c.since, c.lin.highest[validity])
	}
	if c.since > 0 {
		gone, err := c.v.Vanished(ctx, []mailbox.Range{{First: 1, Last: max(c.next, 2) - 1}}, c.since)
		w.must(err)
		for _, r := range gone {
			maps.DeleteFunc(c.cache, func(uid uint32, _ string) bool { return uid >= r.First && uid <= r.Last })
		}
		for msg := range c.v.Messages([]mailbox.Range{{First: 1, Last: max(c.next, 2) - 1}}, true) {
			if msg.ModSeq > c.since && msg.UID < c.next {
				c.learn(msg)
			}
		}
	}
	c.fetchNew()
	c.heard()
}

// validities checks that UIDVALIDITY only changes for a reason, and increases.
func (c *liveClient) validities(name string, validity uint32) {
	w := c.w
	if _, known := c.lin.next[validity]; known || len(c.lin.next) == 0 {
		return
	}
	highest := slices.Max(slices.Collect(maps.Keys(c.lin.next)))
	if !c.lin.newUIDs || validity < highest {
		w.t.Fatalf("UIDVALIDITY of %s is %d, it was %d, and there was reason for that: %v", name, validity, highest, c.lin.newUIDs)
	}
}

// heard records up to where the client was told of everything.
func (c *liveClient) heard() {
	c.since, c.lin.blind = c.v.HighestModSeq(), false
	c.lin.highest[c.validity] = max(c.lin.highest[c.validity], c.since)
	next := c.v.UIDNext()
	if next < c.lin.next[c.validity] {
		c.w.t.Fatalf("UIDNEXT went back from %d to %d", c.lin.next[c.validity], next)
	}
	c.lin.next[c.validity] = next
}

func (c *liveClient) fetchNew() {
	for msg := range c.v.Messages([]mailbox.Range{{First: c.next, Last: ^uint32(0)}}, true) {
		if msg.UID < c.next {
			continue // "*" is the last one
		}
		c.learn(msg)
		c.next = msg.UID + 1
	}
}

// learn records what a client is told about a message.
func (c *liveClient) learn(msg mailbox.Message) {
	w := c.w
	content, ok := c.content(msg)
	if !ok {
		return
	}
	c.lin.note(w.t, "a client", told{c.validity, msg.UID}, content)
	c.cache[msg.UID] = content + " " + flagText(msg.Flags, func(i int) string { name, _ := c.v.KeywordName(i); return name })
}

func (c *liveClient) content(msg mailbox.Message) (string, bool) {
	w := c.w
	var f mailbox.File
	err := c.v.Open(&f, msg, func(int64) []byte { return nil })
	if errors.Is(err, mailbox.ErrGone) {
		return "", false
	}
	w.must(err)
	text := make([]byte, f.Size)
	_, err = f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		w.t.Fatal(err)
	}
	w.must(f.Close())
	return subject(string(text)), true
}

// listen applies all updates; it returns false if the mailbox has ended.
func (c *liveClient) listen(expunges bool) bool {
	if c.ended(c.v.Poll(context.Background())) {
		return false
	}
	hold := mailbox.HoldExpunges
	if expunges {
		hold = 0
	}
	c.v.Updates(hold, func(u mailbox.Update) {
		switch u.Kind {
		case mailbox.Expunge:
			delete(c.cache, u.UID)
		case mailbox.Flags:
			c.learn(u.Message)
		case mailbox.Exists:
			c.fetchNew()
		}
	})
	c.heard()
	return true
}

// check lets a client listen, compares what it knows with the files, and checks each
// message's number and text.
func (c *liveClient) check() {
	w := c.w
	// The first poll may be delayed by news that it caused itself.
	for range 3 {
		if !c.listen(true) {
			return
		}
	}
	name := c.name()
	if name == "" {
		return // it was removed, and nobody has noticed yet
	}
	seq := uint32(0)
	for msg := range c.v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		if seq++; msg.Seq != seq {
			w.t.Fatalf("%s: message %d has sequence number %d", name, seq, msg.Seq)
		}
		content, ok := c.content(msg)
		if !ok {
			w.t.Fatalf("%s: UID %d has no file", name, msg.UID)
		}
		c.lin.note(w.t, "a client", told{c.validity, msg.UID}, content)
		if _, ok := c.cache[msg.UID]; !ok {
			w.t.Fatalf("%s: the client does not know of UID %d", name, msg.UID)
		}
	}
	if int(seq) != len(c.cache) || seq != c.v.Exists() {
		w.t.Fatalf("%s: the client knows %d messages, the view %d", name, len(c.cache), seq)
	}
	have, want := slices.Sorted(maps.Values(c.cache)), w.state(name)
	if !slices.Equal(have, want) {
		w.t.Fatalf("%s: the client has\n  %s\nthe files are\n  %s\n", name, strings.Join(have, "\n  "), strings.Join(want, "\n  "))
	}
}

// act lets a client change something; delta is what was added and removed by that.
func (c *liveClient) act() (delta map[string]int) {
	w := c.w
	delta = map[string]int{}
	ctx := context.Background()
	var uids []uint32
	for _, uid := range slices.Sorted(maps.Keys(c.cache)) {
		if w.rng.IntN(3) == 0 {
			uids = append(uids, uid)
		}
	}
	var err error
	switch w.rng.IntN(5) {
	case 0, 1:
		flags := w.flags() &^ filename.Keywords
		words := []string{fmt.Sprint("word", w.rng.IntN(4))}[:w.rng.IntN(2)]
		w.did("STORE %v %b %v", uids, flags, words)
		var done []mailbox.Message
		done, err = c.v.Store(ctx, uids, mailbox.Op(w.rng.IntN(3)), flags, words)
		for _, msg := range done {
			c.learn(msg)
		}
	case 2:
		before := w.count(c.name())
		var removed []uint32
		removed, err = c.v.Expunge(ctx, uids)
		w.did("EXPUNGE %v: %v", uids, removed)
		after, most := w.count(c.name()), map[string]int{}
		for _, uid := range removed {
			most[c.lin.uids[told{c.validity, uid}]]++
		}
		for content, n := range most { // others may have removed some before
			delta[content] = -min(before[content]-after[content], n)
		}
	case 3:
		w.n++
		content := fmt.Sprint("m", w.n)
		var in *mailbox.Incoming
		in, err = c.m.NewIncoming(mailbox.AppendOptions{Flags: w.flags() &^ filename.Keywords})
		if err == nil {
			fmt.Fprintf(in, "Subject: %s\r\n\r\nhello\r\n", content)
			var appended []uint32
			var validity uint32
			validity, appended, err = c.m.Append(ctx, mailbox.Taken{}, in)
			w.did("APPEND %s: %v, %v", content, appended, err)
			if err == nil {
				c.lin.note(w.t, "APPEND", told{validity, appended[0]}, content)
				delta[content]++
			}
		}
	case 4:
		to := w.anyFolder()
		dst, oerr := c.a.Open(ctx, to)
		if oerr != nil {
			err = oerr
			break
		}
		defer dst.Release()
		uids = uids[:min(len(uids), 3)]
		var copied mailbox.Copied
		move := w.rng.IntN(2) == 0 && w.folders[to] != c.lin
		if move {
			copied, err = c.v.Move(ctx, uids, dst.Mailbox)
		} else {
			copied, err = c.v.Copy(ctx, uids, dst.Mailbox)
		}
		w.did("COPY %v to %s (move: %v): %+v, %v", uids, to, move, copied, err)
		for i, uid := range copied.Source {
			content := c.lin.uids[told{c.validity, uid}]
			w.folders[to].note(w.t, "COPY", told{copied.UIDValidity, copied.Dest[i]}, content)
			if !move {
				delta[content]++
			}
		}
	}
	switch {
	case err == nil, errors.Is(err, mailbox.ErrGone), errors.Is(err, syscall.ENAMETOOLONG):
	case errors.Is(err, mailbox.ErrReplaced):
		c.leave()
	default:
		w.t.Fatal(err)
	}
	return delta
}
