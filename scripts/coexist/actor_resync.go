package coexist

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// resyncActor is a client with a copy of a mailbox that it synchronises by QRESYNC (RFC 7162):
// it connects, waits for changes, and disconnects, often without LOGOUT. Such a client never
// finds out about a change that the server does not report, so the actor compares its copy
// with a complete listing.
type resyncActor struct {
	name   string
	server *Server
	ledger *Ledger
	folder string

	c *Client
	copyOf
	// Since the last tagged response:
	code uint64 // HIGHESTMODSEQ from the server, 0 for none
	seen uint64 // highest MODSEQ of a FETCH
	// Since the last learn:
	grew bool   // there are messages that were not fetched yet
	high uint32 // highest UID of a FETCH
}

// copyOf is the client's copy of a mailbox.
type copyOf struct {
	validity uint32
	modseq   uint64            // HIGHESTMODSEQ, as computed by a client (RFC 7162 section 6)
	flags    map[uint32]string // by UID
	told     map[uint32]uint64 // the last mod-sequence, by UID
	gone     map[uint32]bool   // UIDs that the server reported as gone
	last     uint32            // the copy is complete up to this UID
}

// NewResyncActor returns an actor that connects in its first step.
func NewResyncActor(name string, s *Server, l *Ledger, folder string) Actor {
	return &resyncActor{name: name, server: s, ledger: l, folder: folder}
}

func (a *resyncActor) Name() string { return a.name }

func (a *resyncActor) Close() {
	if a.c != nil {
		a.c.Close()
		a.c = nil
	}
}

var resyncSteps = []weight{{"noop", 10}, {"idle", 10}, {"compare", 6}, {"leave", 6}}

// Step implements Actor.
func (a *resyncActor) Step(rng *rand.Rand) (string, error) {
	if a.c == nil {
		return "resync", a.resync()
	}
	what := pick(rng, resyncSteps)
	switch what {
	case "noop":
		return what, a.refresh()
	case "idle":
		if err := a.c.Idle(time.Duration(rng.IntN(2000))*time.Millisecond, nil); err != nil {
			return what, err
		}
		a.tagged()
		return what, a.learn()
	case "compare":
		return what, a.compare()
	}
	a.Close()
	return what, nil
}

// do sends a command and applies the responses.
func (a *resyncActor) do(format string, args ...any) error {
	text, _, err := a.c.Tagged(format, args...)
	if err != nil {
		return err
	}
	if n, ok := code(text, "HIGHESTMODSEQ", 63); ok {
		a.code = n
	}
	a.tagged()
	return nil
}

// refresh polls for changes.
func (a *resyncActor) refresh() error {
	if err := a.do("NOOP"); err != nil {
		return err
	}
	return a.learn()
}

// learn fetches new messages, which the server reports only by EXISTS.
func (a *resyncActor) learn() error {
	for a.grew {
		a.grew = false
		if err := a.do("UID FETCH %d:* (FLAGS)", a.last+1); err != nil {
			a.grew = true
			return err
		}
		if !a.grew {
			a.last = a.high
		}
	}
	return nil
}

// tagged updates the client's HIGHESTMODSEQ after a tagged response.
func (a *resyncActor) tagged() {
	if a.modseq = max(a.modseq, a.seen); a.code != 0 {
		a.modseq = a.code
	}
	a.code, a.seen = 0, 0
}

// resync connects and synchronises the copy.
func (a *resyncActor) resync() error {
	c, err := a.server.Dial()
	if err != nil {
		return err
	}
	a.c, a.code, a.seen = c, 0, 0
	if _, err := c.Do("ENABLE QRESYNC"); err != nil {
		return err
	}
	c.untagged = a.take
	if a.flags == nil {
		a.flags, a.told, a.gone = map[uint32]string{}, map[uint32]uint64{}, map[uint32]bool{}
		if err := a.do("SELECT %s", quote(a.folder)); err != nil {
			return err
		}
		return a.learn()
	}
	if err := a.do("SELECT %s (QRESYNC (%d %d))", quote(a.folder), a.validity, a.modseq); err != nil {
		return err
	}
	return a.compare()
}

// compare lists the mailbox. A message without a higher mod-sequence than the client knows must
// be as in the copy, or get a higher one soon: other programs change files unobserved, and the
// effect may be visible before it is recorded.
func (a *resyncActor) compare() error {
	if err := a.refresh(); err != nil {
		return err
	}
	known, last := a.modseq, a.last
	before := maps.Clone(a.flags)
	listed, early := map[uint32]bool{}, map[uint32]string{}
	a.c.untagged = func(r Response) error {
		uid, flags, modseq, err := flagsAt(r)
		if err == nil && uid != 0 {
			listed[uid] = true
			switch had, ok := before[uid]; {
			case !ok && a.gone[uid]:
				a.ledger.Fault("%s: UID %d of %s is there and was told to be gone", a.name, uid, a.folder)
			case !ok && uid <= last:
				a.ledger.Fault("%s: UID %d of %s is there, below %d, and was not told", a.name, uid, a.folder, last)
			case ok && modseq <= known && had != flags:
				early[uid] = fmt.Sprintf("flags %q and mod-sequence %d; the client was told %q up to %d", flags, modseq, had, known)
			}
		}
		return errors.Join(err, a.take(r))
	}
	err := a.do("UID FETCH 1:* (FLAGS MODSEQ)")
	a.c.untagged = a.take
	if err == nil {
		err = a.refresh() // removals have been reported by now
	}
	if err != nil {
		return err
	}
	for uid := range before {
		if !listed[uid] && !a.gone[uid] {
			a.ledger.Fault("%s: UID %d of %s is not there, and nobody said that it is gone", a.name, uid, a.folder)
		}
	}
	for end := time.Now().Add(time.Minute); ; {
		maps.DeleteFunc(early, func(uid uint32, _ string) bool { return a.gone[uid] || a.told[uid] > known })
		if len(early) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for uid, what := range early {
				a.ledger.Fault("%s: UID %d of %s has %s", a.name, uid, a.folder, what)
			}
			return nil
		}
		time.Sleep(50 * time.Millisecond)
		if err := a.refresh(); err != nil {
			return err
		}
	}
}

// take applies an untagged response to the copy.
func (a *resyncActor) take(r Response) error {
	switch r.Name {
	case "OK":
		if n, ok := code(r.Text, "UIDVALIDITY", 32); ok {
			a.validity = uint32(n)
			a.ledger.Validity(a.server.Name, a.folder, a.validity)
		}
		if n, ok := code(r.Text, "HIGHESTMODSEQ", 63); ok {
			a.code = n
		}
		if strings.Contains(r.Text, "[NOMODSEQ]") {
			a.ledger.Fault("%s: %s has no mod-sequences", a.server.Name, a.folder)
		}
	case "EXPUNGE":
		a.ledger.Fault("%s sends EXPUNGE to a client with QRESYNC", a.server.Name)
	case "VANISHED":
		if len(r.Args) == 0 {
			return errSyntax
		}
		uids, err := expand(r.Args[len(r.Args)-1].Text)
		for _, uid := range uids {
			delete(a.flags, uid)
			a.gone[uid] = true
		}
		return err
	case "FETCH":
		uid, flags, modseq, err := flagsAt(r)
		if err != nil || uid == 0 {
			return errors.Join(err, errSyntax)
		}
		a.flags[uid], a.told[uid] = flags, modseq
		a.seen, a.high = max(a.seen, modseq), max(a.high, uid)
	case "EXISTS":
		a.grew = true
	}
	return nil
}

// flagsAt parses a FETCH response with flags; uid is 0 for other responses.
func flagsAt(r Response) (uid uint32, flags string, modseq uint64, err error) {
	m, _, err := message(r)
	if err != nil || r.Name != "FETCH" {
		return 0, "", 0, err
	}
	for i, item := range r.Args[0].List {
		if strings.EqualFold(item.Text, "MODSEQ") && i+1 < len(r.Args[0].List) && len(r.Args[0].List[i+1].List) == 1 {
			if modseq, err = strconv.ParseUint(r.Args[0].List[i+1].List[0].Text, 10, 63); err != nil {
				return 0, "", 0, err
			}
		}
	}
	return m.UID, strings.Join(m.Flags, " "), modseq, nil
}

// differs resynchronises once more, and compares the copy with the state of a server at
// a time without changes.
func (a *resyncActor) differs(f Folder) error {
	if a.flags == nil {
		return nil
	}
	a.Close()
	if err := a.resync(); err != nil {
		return err
	}
	var wrong []string
	there := map[uint32]bool{}
	for _, m := range f.Messages {
		there[m.UID] = true
		had, ok := a.flags[m.UID]
		// Dovecot may have named a letter since the server was asked.
		if !ok || !slices.Equal(slices.DeleteFunc(strings.Fields(had), unnamed), slices.DeleteFunc(slices.Clone(m.Flags), unnamed)) {
			wrong = append(wrong, fmt.Sprintf("UID %d has %q, there it has %v", m.UID, had, m.Flags))
		}
	}
	for uid := range a.flags {
		if !there[uid] {
			wrong = append(wrong, fmt.Sprintf("UID %d is not there", uid))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("%s: the copy of %s differs: %s", a.name, a.folder, strings.Join(wrong, "; "))
}
