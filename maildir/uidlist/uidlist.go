// Package uidlist reads and writes dovecot-uidlist, the file in which Dovecot
// keeps the UIDs of a Maildir folder.
package uidlist

import (
	"errors"
	"iter"
	"log/slog"
	"time"

	"maildird/maildir/dirfd"
)

// Options of New.
type Options struct {
	Fsync bool
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// Header is the first line of the list.
type Header struct {
	UIDValidity uint32
	NextUID     uint32
	GUID        string   // 32 hex digits, "" if the list has none
	Extra       []string // unknown fields verbatim, such as "P2"
}

// Record is one line of the list.
type Record struct {
	UID  uint32
	Ext  string // fields such as "S12 W13 Gabc", without leading space; "" if none
	Base string
}

// Change is what Refresh found.
type Change uint8

// The findings of Refresh.
const (
	Unchanged Change = iota // no record was given
	Appended                // only the new records were given
	Replaced                // all records were given, from the first one on
	Missing                 // there is no list any more
)

// File is the dovecot-uidlist of one folder. Not safe for concurrent use.
type File struct {
	dir *dirfd.Dir
	opt Options
	h   Header
}

// New returns the list of the folder dir without reading it.
func New(dir *dirfd.Dir, opt Options) *File { return &File{dir: dir, opt: opt} }

// Refresh reads what others changed since the last call.
func (f *File) Refresh(add func(Record)) (Change, error) { return Unchanged, errUnfinished }

// Header returns what the header says, NextUID raised above the last record.
func (f *File) Header() Header { return f.h }

// Append writes records at the end. The lock must be held.
func (f *File) Append(recs []Record) error { return errUnfinished }

// Rewrite replaces the list. The lock must be held.
func (f *File) Rewrite(h Header, live iter.Seq[Record]) error { return errUnfinished }

// WantsRewrite tells whether Dovecot would rewrite the list now.
func (f *File) WantsRewrite(live int) bool { return false }

// NextValidity takes a UIDVALIDITY by the protocol of dovecot-uidvalidity.
func NextValidity(root *dirfd.Dir, now time.Time, fsync bool) (uint32, error) {
	return 0, errUnfinished
}

var errUnfinished = errors.New("uidlist: not written yet")
