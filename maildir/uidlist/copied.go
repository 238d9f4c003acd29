package uidlist

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// copyField begins the field of the first line by which a list says that it is a
// copy, as in a snapshot, followed by when it was made, in Unix seconds. Dovecot
// keeps fields that it does not know.
const copyField = "T"

// uidsPerSecond is more than the messages that a folder gets in the long run, and
// longestGrowth is for how long they are counted: a tenth of all UIDs.
const (
	uidsPerSecond = 16
	longestGrowth = 300 * 24 * time.Hour
)

// MarkCopy makes the header that of a copy that was made now: see PutBack.
func (h *Header) MarkCopy(now time.Time) {
	h.Extra = append(h.withoutMark(), copyField+strconv.FormatInt(now.Unix(), 10))
}

func (h *Header) withoutMark() []string {
	return slices.DeleteFunc(slices.Clone(h.Extra), func(field string) bool { _, ok := copied(field); return ok })
}

// copied reads the field of a copy.
func copied(field string) (at time.Time, ok bool) {
	if len(field) < 2 || field[:1] != copyField {
		return at, false
	}
	n, err := strconv.ParseInt(field[1:], 10, 64)
	return time.Unix(n, 0), err == nil && n >= 0
}

// IsCopy tells whether the list is a copy that nobody used yet: call PutBack.
func (h *Header) IsCopy() bool {
	return slices.ContainsFunc(h.Extra, func(field string) bool { _, ok := copied(field); return ok })
}

// PutBack raises the next UID of a list that is a copy, durable on return, and takes
// the mark off it: a copy may be put back more than once, and what gets UIDs after
// that must not get those that were given out the time before. So the next UID grows
// with the time since the copy was made, faster than UIDs are used. The lock must be
// held and the list have been refreshed under it.
func (f *File) PutBack(now time.Time) error {
	h := f.h
	var age time.Duration
	for _, field := range h.Extra {
		if at, ok := copied(field); ok {
			age = min(max(now.Sub(at), 0), longestGrowth)
		}
	}
	h.Extra = h.withoutMark()
	if grown := uint64(h.NextUID) + uint64(age/time.Second)*uidsPerSecond; grown <= MaxUID/2 {
		h.NextUID = uint32(grown)
	}
	return f.newHeader(h)
}

// RaiseNextUID makes the list say that at least next is the next UID, durable on
// return; it has the records that it had. The lock must be held and the list have been
// refreshed under it.
func (f *File) RaiseNextUID(next uint32) error {
	h := f.h
	h.NextUID = max(h.NextUID, next)
	return f.newHeader(h)
}

// RenewGUID gives the mailbox another GUID, durable on return; all else stays. The lock
// must be held and the list have been refreshed under it.
func (f *File) RenewGUID() error {
	h := f.h
	h.GUID = "" // replace makes one
	return f.newHeader(h)
}

// newHeader gives the list another header, durable on return.
func (f *File) newHeader(h Header) error {
	if f.version == 0 {
		return fmt.Errorf("%s/%s: there is no list", f.dir.Path(), Name)
	}
	if err := f.replace(h, func(old iter.Seq[Record]) iter.Seq[Record] { return old }, Steps{}); err != nil {
		return err
	}
	return f.Settle()
}
