// Package uidlist reads and writes dovecot-uidlist, the file in which Dovecot keeps the
// UIDs of a Maildir folder, and allocates UIDVALIDITY values from dovecot-uidvalidity.
//
// The list has one line for the folder and one for each message:
//
//	3 V1700000000 N12 G0123456789abcdef0123456789abcdef
//	7 S120 W124 :1700000001.M1P2.host
//	11 :1700000005.M1P2.host
//
// The first line has the UIDVALIDITY (V), the next UID at the time when the file was
// created (N) and the mailbox's GUID (G). Each other line has a UID, further fields that
// consist of a letter and a value, and the base of the file's name. Version 1, which
// Courier uses too, has "1 <UIDVALIDITY> <next UID>" and "<UID> <name>". Source: Dovecot's
// maildir-uidlist.c.
//
// Writers hold dovecot-uidlist.lock. New records are appended, so N falls behind; any other
// change replaces the file. Readers take no lock. They may encounter the following:
//
//   - An unfinished last line, because a writer is at work or died: it is not read yet, but
//     its UID is not assigned again, and the next writer replaces the file instead of
//     appending to that line.
//   - Malformed lines, lines out of order, UIDs assigned twice, a next UID below an earlier
//     one: Dovecot deletes such a file and assigns new UIDs. This package keeps every
//     record that can be read and logs what it found, and the next writer puts the file in
//     order.
//   - A first line without a UIDVALIDITY: nothing can be trusted, and Header().UIDValidity
//     is 0.
//   - Something other than a regular file, or a file beyond the limits: an error.
//
// lines.go and parse.go parse lines, read.go reads what is new in the file, write.go
// appends to it and replaces it, memo.go saves a reader from reading the file, copied.go
// marks a copy of it, and validity.go handles the counter of UIDVALIDITY values.
package uidlist

import (
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"maildird/maildir/dirfd"
)

// Name is the list's file name in the folder.
const Name = "dovecot-uidlist"

// Limits of what is read. A longer line counts as damage; a larger file is an error.
const (
	maxLine    = 8 << 10
	maxFile    = 256 << 20
	maxRecords = 4 << 20
	// MaxUID is the highest UID that Dovecot allows.
	MaxUID = 1<<32 - 2
)

// errChanged means that another program wrote the list while this process held its lock.
// Nothing was changed; the list has to be read again.
var errChanged = errors.New("another program wrote dovecot-uidlist without regard to its lock")

// Options of New.
type Options struct {
	Fsync bool             // return from a change only when it is on disk
	Log   *slog.Logger     // nil: no logging
	Now   func() time.Time // nil: time.Now
	// DataSync makes a file's content durable, nil: as the system does. Tests set it.
	DataSync func(*dirfd.File) error
}

// Header is the first line of the list.
type Header struct {
	UIDValidity uint32 // 0: there is no list, or it cannot be trusted
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

// The results of Refresh.
const (
	Unchanged Change = iota // no records were passed on
	Appended                // only the new records were passed on
	Replaced                // all records were passed on, from the first one on
	Missing                 // there is no list, or no longer one
)

// File is the dovecot-uidlist of one folder. It is not safe for concurrent use, except for
// StampNow.
type File struct {
	dir *dirfd.Dir
	opt Options
	h   Header

	// What was last read or written.
	known   bool      // there is a file, and the other fields describe it
	seen    fileState // the file
	version int       // 1 or 3; 0 if the header is unusable
	end     int64     // offset after the last complete line
	first   string
	last    string // the last complete line, to check that the file still has it
	lastUID uint32 // highest UID in a complete line
	lines   int    // records
	damaged bool   // the file has to be put in order
	// unsettled is set if the file's name may not be durable yet.
	unsettled bool
	// doubtful is set if the list could not be made durable. A second sync may wrongly
	// report success, so the list is rewritten before UIDs are added.
	doubtful bool
}

// New returns the list of the folder dir without reading it.
func New(dir *dirfd.Dir, opt Options) *File {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.DataSync == nil {
		opt.DataSync = (*dirfd.File).DataSync
	}
	return &File{dir: dir, opt: opt}
}

// Header returns the list's header. NextUID is raised above the last record, and is never
// lower than before under the same UIDVALIDITY.
func (f *File) Header() Header { return f.h }

// WantsRewrite reports whether the list should be rewritten if live records stand for existing
// messages: Dovecot could not read it as it is, or would rewrite it itself, and it has more than
// short records.
func (f *File) WantsRewrite(live, short int) bool {
	if !f.known {
		return false
	}
	return f.damaged || f.version != 3 || f.h.GUID == "" || f.seen.size > f.end || live > f.lines ||
		f.lines > short && f.lines*75/100 >= live
}

// Damaged reports whether the list, when it was last read, had an incomplete first line,
// malformed lines, UIDs twice or out of order, or a next UID below an earlier one: UIDs that
// were assigned may be missing from it. An unfinished last line alone is not damage, because
// its UID is known.
func (f *File) Damaged() bool { return f.known && f.damaged }

// fileState is what a stat returned of the file, enough to detect that it was replaced or has
// grown.
type fileState struct {
	id    dirfd.ID
	size  int64
	mtime time.Time
	ctime time.Time // only used by Recall
	// racy means that the file was examined so soon after its last change that another
	// change may be hidden behind the same time.
	racy bool
}

func (f *File) fileStateOf(st dirfd.Stat) fileState {
	return fileState{st.ID(), st.Size, st.Mtime, st.Ctime, dirfd.WithinGrain(f.opt.Now(), st.Mtime)}
}

// Stamp identifies one state of a list, unless a later change keeps its size and, within
// the clock's tick, its time. The zero Stamp stands for no list.
type Stamp struct {
	id    dirfd.ID
	size  int64
	mtime int64 // Unix time in ns
}

// Time returns when the list was last changed, the zero time if there is none.
func (s Stamp) Time() time.Time {
	if s == (Stamp{}) {
		return time.Time{}
	}
	return time.Unix(0, s.mtime)
}

func (s fileState) stamp() Stamp { return Stamp{s.id, s.size, s.mtime.UnixNano()} }

// Stamp returns the stamp of the state that was last read or written. ok is false if
// nothing is known of the list.
func (f *File) Stamp() (s Stamp, ok bool) {
	if !f.known {
		return Stamp{}, false
	}
	return f.seen.stamp(), true
}

// StampNow returns the stamp of the list in its current state. It is safe for concurrent
// use and costs one system call.
func (f *File) StampNow() (Stamp, error) {
	st, err := f.dir.Lstat(Name)
	if errors.Is(err, fs.ErrNotExist) {
		return Stamp{}, nil
	}
	return Stamp{st.ID(), st.Size, st.Mtime.UnixNano()}, err
}

func (s fileState) same(now fileState) bool {
	return s.id == now.id && s.size == now.size && s.mtime.Equal(now.mtime)
}
