// Package uidlist reads and writes dovecot-uidlist, the file in which Dovecot
// keeps the UIDs of a Maildir folder, and takes UIDVALIDITY values from
// dovecot-uidvalidity.
//
// The list is one line for the folder and one for each message:
//
//	3 V1700000000 N12 G0123456789abcdef0123456789abcdef
//	7 S120 W124 :1700000001.M1P2.host
//	11 :1700000005.M1P2.host
//
// The first line gives UIDVALIDITY (V), the next UID at the time the file was
// made (N) and the mailbox's GUID (G); the others a UID, further fields of a
// letter and a value, and the base of the file's name. Version 1, which is also
// Courier's, has "1 <UIDVALIDITY> <next UID>" and "<UID> <name>". Source:
// Dovecot's maildir-uidlist.c.
//
// Writers hold dovecot-uidlist.lock. New records are appended, so N falls
// behind; everything else replaces the file. Readers take no lock. What they
// may meet, and the answer:
//
//   - An unfinished last line, of a writer that is at work or died: it is left
//     for later, but its UID is not given out again, and the next writer
//     replaces the file rather than add to that line.
//   - Lines that make no sense, lines out of order, UIDs given twice, a next UID
//     below an earlier one: Dovecot deletes such a file and numbers anew. Here
//     every record that can be read is kept, what was found is logged, and the
//     next writer puts the file in order.
//   - A first line without a UIDVALIDITY: nothing can be trusted, and
//     Header().UIDValidity is 0.
//   - Anything but a regular file, or a file beyond the limits: an error.
//
// lines.go and parse.go read lines, read.go what is new in the file, write.go appends and
// replaces; memo.go spares a reader the file, copied.go marks a copy of it, validity.go is
// the counter.
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

// Limits of what is read. A line that is longer is taken for damage; a larger
// file is an error.
const (
	maxLine    = 8 << 10
	maxFile    = 256 << 20
	maxRecords = 4 << 20
	// MaxUID is the highest UID that Dovecot allows.
	MaxUID = 1<<32 - 2
)

// errChanged says that another program wrote the list while its lock was held
// here. Nothing was changed; read it again.
var errChanged = errors.New("another program wrote dovecot-uidlist without regard to its lock")

// Options of New.
type Options struct {
	Fsync bool             // say that a change is done only when it is on disk
	Log   *slog.Logger     // nil: nothing is logged
	Now   func() time.Time // nil: time.Now
}

// Header is the first line of the list.
type Header struct {
	UIDValidity uint32 // 0: no list, or one that says nothing to be trusted
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
	Missing                 // there is no list (any more)
)

// File is the dovecot-uidlist of one folder. Not safe for concurrent use but for
// StampNow.
type File struct {
	dir *dirfd.Dir
	opt Options
	h   Header

	// What was read or written last.
	known   bool  // there is a file, and the rest describes it
	seen    sight // the file
	version int   // 1 or 3; 0 if the header says nothing
	end     int64 // offset behind the last complete line
	first   string
	last    string // the last complete line, to see that the file still holds it
	lastUID uint32 // highest UID in a complete line
	lines   int    // records
	damaged bool   // something is to be put in order
	// unsettled says that the file's name may not be durable yet.
	unsettled bool
	// doubtful says that the list could not be made durable. Another sync may say that all
	// is well and be wrong, so it is written anew before UIDs are added.
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
	return &File{dir: dir, opt: opt}
}

// Header returns what the header says, NextUID raised above the last record
// and above what it was before under the same UIDVALIDITY.
func (f *File) Header() Header { return f.h }

// WantsRewrite tells whether Dovecot would rewrite a list now of which so many
// records stand for messages that exist, or could not read it as it is.
func (f *File) WantsRewrite(live int) bool {
	if !f.known {
		return false
	}
	return f.damaged || f.version != 3 || f.h.GUID == "" || f.seen.size > f.end || live > f.lines ||
		f.lines > 0 && f.lines*75/100 >= live
}

// Damaged tells whether the list, as it was read last, had lines that make no
// sense, UIDs given twice, or no sound first line: it may lack UIDs that were
// given out. An unfinished last line alone is none: its UID is known.
func (f *File) Damaged() bool { return f.known && (f.damaged || f.h.UIDValidity == 0) }

// sight is what a stat told of the file, enough to see whether it is another
// one or has grown.
type sight struct {
	id    dirfd.ID
	size  int64
	mtime time.Time
	ctime time.Time // counts for Recall only
	// racy: the file was looked at so soon after its last change that another
	// one may hide behind the same time.
	racy bool
}

func (f *File) sightOf(st dirfd.Stat) sight {
	return sight{st.ID(), st.Size, st.Mtime, st.Ctime, dirfd.WithinGrain(f.opt.Now(), st.Mtime)}
}

// Stamp identifies one state of a list, but for a change that leaves its size
// and, within the clock's tick, its time. The zero Stamp stands for no list.
type Stamp struct {
	id    dirfd.ID
	size  int64
	mtime int64 // Unix time in ns
}

// Time is when the list was changed last, the zero time if there is none.
func (s Stamp) Time() time.Time {
	if s == (Stamp{}) {
		return time.Time{}
	}
	return time.Unix(0, s.mtime)
}

func (s sight) stamp() Stamp { return Stamp{s.id, s.size, s.mtime.UnixNano()} }

// Stamp is that of the state which was read or written last; ok is false if
// nothing is known of the list.
func (f *File) Stamp() (s Stamp, ok bool) {
	if !f.known {
		return Stamp{}, false
	}
	return f.seen.stamp(), true
}

// StampNow is that of the list as it is. It is safe for concurrent use, and
// costs one system call.
func (f *File) StampNow() (Stamp, error) {
	st, err := f.dir.Lstat(Name)
	if errors.Is(err, fs.ErrNotExist) {
		return Stamp{}, nil
	}
	return Stamp{st.ID(), st.Size, st.Mtime.UnixNano()}, err
}

func (s sight) same(now sight) bool {
	return s.id == now.id && s.size == now.size && s.mtime.Equal(now.mtime)
}
