package uidlist

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// copyField starts the field of the first line that marks a list as a copy, as in a
// snapshot. It is followed by the time at which the copy was made, in Unix seconds. Dovecot
// keeps fields that it does not know.
const copyField = "T"

// uidsPerSecond is more messages than a folder gets in the long run, and longestGrowth is
// the longest time for which they are added: the product is a tenth of all UIDs.
const (
	uidsPerSecond = 16
	longestGrowth = 300 * 24 * time.Hour
)

// MarkCopy marks the header as that of a copy made now: see PutBack.
func (h *Header) MarkCopy(now time.Time) {
	h.Extra = append(h.withoutMark(), copyField+strconv.FormatInt(now.Unix(), 10))
}

func (h *Header) withoutMark() []string {
	return slices.DeleteFunc(slices.Clone(h.Extra), func(field string) bool { _, ok := copied(field); return ok })
}

// copied parses the field that marks a copy.
func copied(field string) (at time.Time, ok bool) {
	if len(field) < 2 || field[:1] != copyField {
		return at, false
	}
	n, err := strconv.ParseInt(field[1:], 10, 64)
	return time.Unix(n, 0), err == nil && n >= 0
}

// IsCopy reports whether the list is a copy that nobody has used yet: call PutBack.
func (h *Header) IsCopy() bool {
	return slices.ContainsFunc(h.Extra, func(field string) bool { _, ok := copied(field); return ok })
}

// PutBack raises the next UID of a list that is a copy and removes the mark, durable on
// return. A copy may be restored more than once, and messages that then get UIDs must not
// get those that were assigned after an earlier restore. Therefore the next UID grows with
// the time since the copy was made, faster than UIDs are used. The caller must hold the
// lock and have called Refresh while holding it.
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

// RaiseNextUID raises the list's next UID to at least next, durable on return, and keeps
// its records. The caller must hold the lock and have called Refresh while holding it.
func (f *File) RaiseNextUID(next uint32) error {
	h := f.h
	h.NextUID = max(h.NextUID, next)
	return f.newHeader(h)
}

// RenewGUID gives the mailbox a new GUID, durable on return, and changes nothing else. The
// caller must hold the lock and have called Refresh while holding it.
func (f *File) RenewGUID() error {
	h := f.h
	h.GUID = "" // replace generates one
	return f.newHeader(h)
}

// newHeader replaces the header of the list, durable on return.
func (f *File) newHeader(h Header) error {
	if f.version == 0 {
		return fmt.Errorf("%s/%s: there is no list", f.dir.Path(), Name)
	}
	if err := f.replace(h, func(old iter.Seq[Record]) iter.Seq[Record] { return old }, Steps{}); err != nil {
		return err
	}
	return f.Settle()
}
