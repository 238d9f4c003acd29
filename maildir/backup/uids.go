package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/uidlist"
)

// uidGap is how much greater UIDNEXT is in a copy than in the folder: more than the number
// of messages that a folder gets between a backup and its restore. There are enough UIDs
// for 4,000 restores.
const uidGap = 1 << 20

// validityGap is the same for mailboxes that are created in the meantime.
const validityGap = 1 << 16

// readList reads what is new in the uidlist of an open folder.
func (s *snapshot) readList(o *opened) error {
	f := o.f
	if f.list == nil {
		f.list = uidlist.New(o.src, uidlist.Options{Fsync: true})
	}
	if f.recorded == nil {
		f.recorded = map[uint64]struct{}{}
	}
	change, err := f.list.Refresh(func(r uidlist.Record) {
		f.recorded[maphash.String(s.seed, r.Base)] = struct{}{}
	})
	f.unlisted = change == uidlist.Missing
	return err
}

// prepare does what needs no lock before the lock is acquired: most of the reading and
// sorting, and allocating a UIDVALIDITY for a folder without a list.
func (s *snapshot) prepare(o *opened) error {
	f := o.f
	if !f.mail {
		return nil
	}
	if err := s.readList(o); err != nil {
		return err
	}
	f.fresh = s.withoutUID(f, f.fresh)
	var err error
	if f.unlisted && f.validity == 0 {
		f.validity, err = uidlist.NextValidity(s.root, time.Now(), true)
	}
	return err
}

// batch is how many messages get UIDs before others have a turn.
const batch = 2048

// number assigns UIDs to the messages that have none, as every program does that opens the
// folder: otherwise, the same message would later get one UID in the folder and another one
// in the copy. The folder's lock is held.
func (s *snapshot) number(ctx context.Context, o *opened, h *hold) error {
	f := o.f
	for f.mail && h.locked() {
		if err := s.readList(o); err != nil {
			return err
		}
		if len(f.fresh) == 0 && !f.unlisted {
			return nil
		}
		some := f.fresh[:min(batch, len(f.fresh))]
		if err := s.numberSome(f, s.withoutUID(f, some)); err != nil {
			return err
		}
		if f.fresh = f.fresh[len(some):]; len(f.fresh) == 0 {
			return nil
		}
		if err := h.tick(ctx); err != nil {
			return err
		}
	}
	f.robbed = f.mail && h.robbed
	return nil
}

// numberSome assigns UIDs to names that have none, one for each base. If two bases have the
// same hash, one message is left for the next reader to number. The folder's lock is held.
func (s *snapshot) numberSome(f *folder, names []string) error {
	names = slices.DeleteFunc(names, func(name string) bool {
		hash := maphash.String(s.seed, filename.Base(name))
		_, again := f.recorded[hash]
		f.recorded[hash] = struct{}{}
		return again
	})
	h := f.list.Header()
	next := max(h.NextUID, 1)
	if uint64(next)+uint64(len(names)) >= uidlist.MaxUID {
		return errors.New("its UIDs are used up")
	}
	if h.UIDValidity == 0 {
		if !f.unlisted {
			return fmt.Errorf("%s says no UIDVALIDITY", uidlist.Name)
		}
		if f.validity == 0 {
			return fmt.Errorf("%s was removed just now", uidlist.Name)
		}
		h.UIDValidity = f.validity
		return f.list.Rewrite(h, slices.Values(records(names, next)))
	}
	if len(names) == 0 {
		return nil
	}
	return f.list.Append(records(names, next))
}

// withoutUID returns those of some names that have no UID, in the order in which Dovecot
// would assign them. A base may have several: a listing can return a message under its old
// name and its new one, and which of them is gone is known only later.
func (s *snapshot) withoutUID(f *folder, some []string) []string {
	var names []string
	for _, name := range some {
		base := filename.Base(name)
		_, recorded := f.recorded[maphash.String(s.seed, base)]
		if recorded || base == "" || filename.Ignored(name) || s.left(f, name) {
			continue
		}
		names = append(names, name)
	}
	filename.SortBy(names, func(name string) string { return name }, cmp.Compare[string])
	return names
}

// left reports whether a name that a folder had is known to be gone: whoever removed it may
// also have removed its UID from the list.
func (s *snapshot) left(f *folder, name string) bool {
	gone := false
	for i := range f.dirs {
		if s.dropped[derived{f, i, name}] {
			gone = true
		} else if _, ok := f.dirs[i].have[name]; ok {
			return false
		}
	}
	return gone
}

func records(names []string, next uint32) []uidlist.Record {
	out := make([]uidlist.Record, len(names))
	for i, name := range names {
		out[i] = uidlist.Record{UID: next + uint32(i), Base: filename.Base(name)}
	}
	return out
}

// raiseUIDNext raises UIDNEXT in the uidlist of a copied folder, and marks it as a copy. A list
// that cannot be read, for which it returns unread, stays as it is.
func raiseUIDNext(d *dirfd.Dir) (unread, err error) {
	list := uidlist.New(d, uidlist.Options{})
	var all []uidlist.Record
	change, err := list.Refresh(func(r uidlist.Record) { all = append(all, r) })
	h := list.Header()
	if err != nil || change == uidlist.Missing || h.UIDValidity == 0 {
		return err, nil
	}
	h.NextUID = RaisedUIDNext(h.NextUID, 0)
	h.MarkCopy(time.Now())
	return nil, list.Rewrite(h, slices.Values(all))
}

// RaisedUIDNext returns the UIDNEXT for a copy of a folder that had the given UIDNEXT and
// that many messages without a UID.
func RaisedUIDNext(next uint32, without int) uint32 {
	return uint32(min(uint64(next)+uint64(without)+uidGap, uidlist.MaxUID))
}

// RaiseValidity raises the counter from which new mailboxes of a copy get their UIDVALIDITY
// above those of the next 65,536 mailboxes that are created at the source. It does nothing if
// the counter has reached its end.
func RaiseValidity(root *dirfd.Dir, now time.Time) error {
	next, err := uidlist.NextValidity(root, now, false)
	if errors.Is(err, uidlist.ErrNoValidity) {
		return nil // the operator finds out when the next mailbox is created
	}
	if err != nil {
		return err
	}
	for _, least := range []uint64{uint64(next), uint64(max(now.Unix(), 0))} {
		if least += validityGap; least < 1<<32-validityGap {
			if err := uidlist.RaiseValidity(root, uint32(least), false); err != nil {
				return err
			}
		}
	}
	return nil
}
