package imap

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/maildir/message"
)

// mailFile is one message for a command that reads it: what the cache has of it
// and, when that is not enough, its file, which is opened then. What it is asked
// for it reads once. For one goroutine at a time.
type mailFile struct {
	view  *mailbox.View
	m     mailbox.Message
	known *knownFile
	room  *mailRoom
	head  []byte // the header, in CRLF form

	// rec is what the cache has; of an open file what remember gave to it.
	rec  cache.Record
	keep bool // what is read is of use for the cache

	check func() error // an error of it ends the reading of a long text

	*mailbox.File             // nil if it is not open
	src           io.ReaderAt // the file behind what was read ahead
	text          []byte      // all of it, if it was read ahead
	preview       string
	hasPreview    bool
}

// knownFile is what is known of the parts of one file. A session keeps it of
// the message that it served last a piece of, so that the next piece costs
// neither a scan nor a parse. Zero: nothing is known.
type knownFile struct {
	uid   uint32
	size  int64
	mtime time.Time

	virtual int64         // octets in CRLF form, 0 if not known
	body    message.Pos   // where the header ends, zero if not known
	root    *message.Part // nil if not known
	at      message.Pos   // where the last copy ended
	binary  []knownBinary // decoded parts whose size was counted
}

type knownBinary struct {
	path []int
	size int64
	nul  bool
}

const (
	// readAhead is what is read of a file at once, if all of it is wanted.
	readAhead = 64 << 10
	// readHeader is what is read at once if only the header is wanted.
	readHeader = 16 << 10
	// maxHeader bounds the header that is held in memory. What is beyond is not
	// found by HEADER.FIELDS, ENVELOPE and SEARCH; BODY[HEADER] has it.
	maxHeader = 1 << 20
)

// mailRoom is the room of one mailFile.
type mailRoom struct {
	ahead  [readAhead]byte
	head   []byte
	known  knownFile
	render renderer
}

var mailRooms = sync.Pool{New: func() any { return new(mailRoom) }}

// newMail returns a message for reading. known is used and changed; it may be of
// another message, and nil. rec is what the cache has, zero for nothing. check
// is asked by whoever reads whether there is use in going on. Close it.
func newMail(view *mailbox.View, m mailbox.Message, known *knownFile, rec cache.Record, check func() error) *mailFile {
	room := mailRooms.Get().(*mailRoom)
	if known == nil {
		room.known = knownFile{}
		known = &room.known
	}
	return &mailFile{view: view, m: m, known: known, room: room, rec: rec, keep: view.Keeps(), check: check}
}

func (mf *mailFile) close() {
	if cap(mf.head) <= readAhead {
		mf.room.head = mf.head[:0]
	}
	mailRooms.Put(mf.room)
	mf.room, mf.src, mf.text, mf.head = nil, nil, nil, nil
	if mf.File != nil {
		_ = mf.File.Close()
	}
}

// open opens the file, if it is not open, and reads its beginning: all of a
// small message if whole is set.
func (mf *mailFile) open(whole bool) error {
	if mf.File != nil {
		return nil
	}
	f, err := mf.view.Open(mf.m)
	if err != nil {
		return err
	}
	if k := mf.known; k.uid != mf.m.UID || k.size != f.Size || !k.mtime.Equal(f.Mtime) {
		*k = knownFile{uid: mf.m.UID, size: f.Size, mtime: f.Mtime}
	}
	mf.adopt(f)
	n := min(f.Size, readAhead)
	if !whole {
		n = min(n, readHeader)
	}
	got, err := f.ReadAt(mf.room.ahead[:n], 0)
	if err != nil && err != io.EOF {
		_ = f.Close()
		return err
	}
	mf.File = f
	if int64(got) == f.Size {
		mf.text = mf.room.ahead[:got]
		mf.src = bytes.NewReader(mf.text)
	} else {
		mf.src = &aheadReader{mf.room.ahead[:got], message.Checked(f, func() error { return mf.check() })}
	}
	return nil
}

// adopt takes over what the cache has of the file that was opened, if it is
// still the one that the cache knows.
func (mf *mailFile) adopt(f *mailbox.File) {
	rec := mf.rec
	mf.rec = cache.Record{}
	if rec.Has() == 0 {
		return
	}
	if rec.Size != f.Size || !rec.Mtime.Equal(f.Mtime) {
		mf.view.Forget(mf.m)
		return
	}
	k := mf.known
	if rec.Virtual > 0 {
		k.virtual = rec.Virtual
	}
	if b, ok := rec.Get(cache.Parts); ok && k.root == nil {
		if root, err := message.DecodePart(b); err == nil {
			k.root, k.virtual, k.body = root, root.End.Virt, root.Body
		}
	}
}

// aheadReader has the beginning of a file in memory.
type aheadReader struct {
	ahead []byte
	file  io.ReaderAt
}

func (r *aheadReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(r.ahead)) {
		return copy(p, r.ahead[off:]), nil
	}
	if off < int64(len(r.ahead)) {
		n := copy(p, r.ahead[off:])
		m, err := r.file.ReadAt(p[n:], off+int64(n))
		return n + m, err
	}
	return r.file.ReadAt(p, off)
}

// Hole implements message.Sparse.
func (r *aheadReader) Hole(off int64) int64 {
	if s, ok := r.file.(message.Sparse); ok && off >= int64(len(r.ahead)) {
		return s.Hole(off)
	}
	return off
}

// virtual returns the octets of the message in CRLF form, as counted.
func (mf *mailFile) virtual() (int64, error) {
	if err := mf.open(true); err != nil {
		return 0, err
	}
	k := mf.known
	if k.virtual == 0 && mf.Size > 0 {
		n, err := message.VirtualSize(mf.src, mf.Size)
		if err != nil {
			return 0, err
		}
		k.virtual = n
	}
	return k.virtual, nil
}

// header returns the header of the message in CRLF form, no more than
// maxHeader octets of it.
func (mf *mailFile) header() ([]byte, error) {
	if b, ok := mf.rec.Get(cache.Header); ok {
		return b, nil
	}
	if len(mf.head) > 0 {
		return mf.head, nil
	}
	if err := mf.open(false); err != nil {
		return nil, err
	}
	head, body, err := message.ReadHeader(mf.room.head, mf.src, mf.Size, maxHeader)
	if err != nil {
		return nil, err
	}
	mf.head, mf.known.body = head, body
	return head, nil
}

// bodyBegin returns where the header ends.
func (mf *mailFile) bodyBegin() (message.Pos, error) {
	if err := mf.open(false); err != nil {
		return message.Pos{}, err
	}
	if mf.known.body == (message.Pos{}) {
		if _, err := mf.header(); err != nil {
			return message.Pos{}, err
		}
	}
	return mf.known.body, nil
}

// end returns where the message ends.
func (mf *mailFile) end() (message.Pos, error) {
	n, err := mf.virtual()
	if err != nil {
		return message.Pos{}, err
	}
	return message.Pos{Phys: mf.Size, Virt: n}, nil
}

// structure returns the message's parts.
func (mf *mailFile) structure() (*message.Part, error) {
	if err := mf.open(true); err != nil {
		return nil, err
	}
	k := mf.known
	if k.root == nil {
		root, err := message.Parse(mf.src, mf.Size, message.Limits{})
		if err != nil {
			return nil, err
		}
		k.root, k.virtual, k.body = root, root.End.Virt, root.Body
	}
	return k.root, nil
}

// copyTo writes octets from, up to but not including, to of the message in
// CRLF form, where start is a place not behind them.
func (mf *mailFile) copyTo(w io.Writer, start, end message.Pos, from, to int64) error {
	if at := mf.known.at; at.Virt <= from && at.Virt > start.Virt {
		start = at
	}
	n, at, err := message.CopyVirtual(w, mf.src, start, end, from-start.Virt, to-from)
	mf.known.at = at
	if err == nil && n < to-from {
		err = errShortLiteral
	}
	return err
}

// decodedSize counts the octets of a part without its transfer encoding. The
// part is the one with the given path; nil is the whole message.
func (mf *mailFile) decodedSize(path []int, p *message.Part) (size int64, nul bool, err error) {
	if err := mf.open(true); err != nil {
		return 0, false, err
	}
	k := mf.known
	for _, b := range k.binary {
		if slices.Equal(b.path, path) {
			return b.size, b.nul, nil
		}
	}
	if len(path) == 0 {
		size, nul, err = message.RawSize(mf.src, mf.Size)
	} else {
		size, nul, err = message.BinarySize(mf.src, p)
	}
	if err == nil && len(k.binary) < maxKnownBinary {
		k.binary = append(k.binary, knownBinary{path, size, nul})
	}
	return size, nul, err
}

const maxKnownBinary = 32
