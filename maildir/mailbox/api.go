// Package mailbox is one open mail folder: the table of its messages, kept in
// step with the files, and the view that each session has of it.
package mailbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"time"

	"maildird/maildir/filename"
)

// Errors that callers tell apart.
var (
	// ErrGone says that the message's file is not there any more.
	ErrGone = errors.New("message is gone")
	// ErrReplaced says that the folder was removed or replaced by another one
	// (its UIDVALIDITY changed) while it was open; open it anew.
	ErrReplaced = errors.New("mailbox was removed or replaced")
	// ErrKeywords says that the folder's 26 keyword letters are all in use.
	ErrKeywords = errors.New("no room for another keyword in this mailbox")
	// ErrReadOnly says that the view or the file system does not allow changes.
	ErrReadOnly = errors.New("mailbox is read-only")
)

// Message is what a view says of one message at the time of asking.
type Message struct {
	Seq    uint32
	UID    uint32
	Flags  filename.Flags
	Recent bool
	row    uint32
}

// Range is an inclusive range of sequence numbers or UIDs, First <= Last.
type Range struct{ First, Last uint32 }

// Update is one thing a view was not yet told of.
type Update struct {
	Kind UpdateKind
	Seq  uint32 // Expunge, Flags
	UID  uint32 // Expunge, Flags
	// Message is set for Flags.
	Message Message
	Count   uint32 // Exists, Recent
}

// UpdateKind says what changed.
type UpdateKind uint8

// The kinds of updates.
const (
	Expunge UpdateKind = iota + 1
	Flags
	Exists
	Recent
	KeywordsChanged // a keyword got a letter: FLAGS is to be sent anew
)

// Op says how Store combines flags.
type Op uint8

// The operations of Store.
const (
	Set Op = iota // leaves keyword letters without a name as they are
	Add
	Remove
)

// File is an open message.
type File struct {
	*os.File
	Size  int64     // bytes of the file
	Mtime time.Time // INTERNALDATE
}

// Status is what STATUS asks of a mailbox.
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext, UIDValidity              uint32
	Size                              int64 // sum of RFC822.SIZE; only when asked for
	FirstUnseen                       uint32
}

// API lists what a session may do with a View (implemented by *View). Methods of one view are called
// by one goroutine at a time. Sequence numbers stand still between calls of
// Updates.
type API interface {
	// Poll brings the table in step with the files, unless nothing can have
	// changed. The view itself is not moved: Updates does that.
	Poll(ctx context.Context) error
	// Updates tells what changed since the last call, in the order in which
	// the client is to hear of it, and moves the view. Without expunges
	// (during FETCH, STORE, SEARCH by sequence number) removals are kept back.
	Updates(expunges bool, emit func(Update))
	Exists() uint32
	Recent() uint32
	FirstUnseen() uint32 // sequence number, 0 if none
	UIDNext() uint32
	UIDValidity() uint32
	ReadOnly() bool
	// KeywordName gives the name of keyword letter 'a'+index; false for none.
	KeywordName(index int) (string, bool)
	KeywordNames() []string // in letter order
	KeywordIndex(name string) (int, bool)
	KeywordsFull() bool // no further keyword fits
	// Messages gives the messages of the ranges, ascending and each once; uid says whether the
	// ranges count UIDs or sequence numbers. Numbers that the view does not have are passed over.
	Messages(ranges []Range, uid bool) iter.Seq[Message]
	// Open opens a message; ErrGone if its file vanished for good.
	Open(m Message) (*File, error)
	// Size returns the octets of the message in CRLF form (RFC822.SIZE).
	Size(m Message) (int64, error)
	// Date returns INTERNALDATE.
	Date(m Message) (time.Time, error)
	// SaveDate returns when the message came into this folder.
	SaveDate(m Message) (time.Time, error)
	// Store changes flags, durable on return, and returns the messages as they are now. own updates are not told again by Updates.
	Store(ctx context.Context, uids []uint32, op Op, flags filename.Flags, keywords []string) ([]Message, error)
	// Expunge removes the messages among uids (nil: all) that are \Deleted.
	Expunge(ctx context.Context, uids []uint32) (removed []uint32, err error)
	// Copy copies messages to dst (may be this mailbox), all or none, keeping flags, keywords and dates.
	Copy(ctx context.Context, uids []uint32, dst *Mailbox) (Copied, error)
	// Move moves them; each is in one of both folders at any moment.
	Move(ctx context.Context, uids []uint32, dst *Mailbox) (Copied, error)
	Close()
}

// Copied pairs source UIDs with the UIDs in the destination.
type Copied struct {
	UIDValidity  uint32
	Source, Dest []uint32
}

// Incoming is one message on its way into a mailbox by Append.
type Incoming interface {
	io.Writer // the message in CRLF form; stored with LF
	Abort()   // gives it up; no-op after Append
}

// AppendOptions are the attributes of an appended message.
type AppendOptions struct {
	Flags    filename.Flags
	Keywords []string
	Date     time.Time // zero: now
}
