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
	"maildird/server/imap/syntax"
)

// mailFile is one message for a command that reads it: what the cache has of it
// and, when that is not enough, its file, which is opened then. What it is asked
// for it reads once. For one goroutine at a time.
type mailFile struct {
	view  *mailbox.View
	m     mailbox.Message
	known *knownFile
	room  *mailRoom

	// rec is what the cache has, and what was made since; that of the cache is
	// good until the next record is read.
	rec    cache.Record
	cached cache.Kinds // the kinds of rec that are the cache's

	check func() error // an error of it ends the reading of a long text

	opened bool
	told   bool // the cache knows the size and the date of the file
	file   mailbox.File
	src    io.ReaderAt // the file behind what was read ahead
	text   []byte      // all of it, if it was read ahead
	head   []byte      // the header, in CRLF form, if rec does not have it
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
	message.Binary
}

const (
	// readAhead is what is read of a file at once, if all of it is wanted.
	readAhead = 64 << 10
	// readHeader is what is read at once if only the header is wanted, and the
	// room that every message has.
	readHeader = 16 << 10
	// maxHeader bounds the header that is held in memory. What is beyond is not
	// found by HEADER.FIELDS, ENVELOPE and SEARCH; BODY[HEADER] has it.
	maxHeader = 1 << 20
)

// mailRoom is the room of one mailFile.
type mailRoom struct {
	mail   mailFile
	ahead  [readHeader]byte
	more   *[readAhead]byte // from aheadRooms, nil if ahead is enough
	memory bytes.Reader     // of ahead or more
	head   []byte
	pieces []byte // renderings, one after the other
	known  knownFile
	render renderer
}

var (
	mailRooms  = sync.Pool{New: func() any { return new(mailRoom) }}
	aheadRooms = sync.Pool{New: func() any { return new([readAhead]byte) }}
)

// newMail returns a message for reading. known is used and changed; it may be of
// another message, and nil. rec is what the cache has, zero for nothing. check
// is asked by whoever reads whether there is use in going on. Close it.
func newMail(view *mailbox.View, m mailbox.Message, known *knownFile, rec cache.Record, check func() error) *mailFile {
	room := mailRooms.Get().(*mailRoom)
	if known == nil {
		known = &room.known
	}
	room.mail = mailFile{view: view, m: m, known: known, room: room, rec: rec, cached: rec.Has(), check: check}
	return &room.mail
}

// own makes the record of the cache good for longer than until the next one is
// read.
func (mf *mailFile) own() { mf.room.pieces = mf.rec.MoveTo(mf.room.pieces) }

func (mf *mailFile) close() {
	room := mf.room
	if mf.opened {
		_ = mf.file.Close()
	}
	if n := cap(mf.head); n > 0 && n <= readAhead {
		room.head = mf.head[:0]
	}
	if cap(room.pieces) > readAhead {
		room.pieces = nil
	}
	if room.render.out.Cap() > readAhead {
		room.render.out = bytes.Buffer{}
	}
	if room.more != nil {
		aheadRooms.Put(room.more)
		room.more = nil
	}
	room.pieces = room.pieces[:0]
	room.mail, room.known = mailFile{}, knownFile{}
	mailRooms.Put(room)
}

// open opens the file, if it is not open, and reads its beginning: all of a
// small message if whole is set.
func (mf *mailFile) open(whole bool) error {
	if mf.opened {
		return nil
	}
	room := mf.room
	err := mf.view.OpenInto(&mf.file, mf.m, func(size int64) []byte {
		if !whole || size <= readHeader {
			return room.ahead[:]
		}
		room.more = aheadRooms.Get().(*[readAhead]byte)
		return room.more[:]
	})
	if err != nil {
		return err
	}
	mf.opened = true
	f := &mf.file
	if k := mf.known; k.uid != mf.m.UID || k.size != f.Size || !k.mtime.Equal(f.Mtime) {
		*k = knownFile{uid: mf.m.UID, size: f.Size, mtime: f.Mtime}
	}
	mf.adopt()
	if int64(len(f.Begin)) == f.Size {
		mf.text = f.Begin
		room.memory.Reset(mf.text)
		mf.src = &room.memory
	} else {
		mf.src = &aheadReader{f.Begin, message.Checked(f, func() error { return mf.check() })}
	}
	return nil
}

// adopt goes on with what the cache has of the file that was opened, if it is
// still the one that the cache knows.
func (mf *mailFile) adopt() {
	f, rec := &mf.file, &mf.rec
	if rec.Has() == 0 {
		return
	}
	if rec.Size != f.Size || !rec.Mtime.Equal(f.Mtime) {
		mf.view.Forget(mf.m)
		*rec, mf.cached = cache.Record{}, 0
		return
	}
	if rec.Virtual > 0 {
		mf.known.virtual = rec.Virtual
	}
}

// aheadReader has the beginning of a file in memory.
type aheadReader struct {
	ahead []byte
	file  io.ReaderAt
}

// Hole implements message.Sparse.
func (r *aheadReader) Hole(off int64) int64 {
	if s, ok := r.file.(message.Sparse); ok && off >= int64(len(r.ahead)) {
		return s.Hole(off)
	}
	return off
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

// virtual returns the octets of the message in CRLF form, as counted.
func (mf *mailFile) virtual() (int64, error) {
	if err := mf.open(true); err != nil {
		return 0, err
	}
	k := mf.known
	if k.virtual == 0 && mf.file.Size > 0 {
		n, err := message.VirtualSize(mf.src, mf.file.Size)
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
	head, body, err := message.ReadHeader(mf.room.head, mf.src, mf.file.Size, maxHeader)
	if err != nil {
		return nil, err
	}
	mf.head, mf.known.body = head, body
	if int64(len(head)) == body.Virt {
		mf.rec.Set(cache.Header, head)
	}
	return head, nil
}

// bodyBegin returns where the header ends.
func (mf *mailFile) bodyBegin() (message.Pos, error) {
	if err := mf.open(false); err != nil {
		return message.Pos{}, err
	}
	if k := mf.known; k.body == (message.Pos{}) {
		_, body, err := message.ReadHeader(nil, mf.src, mf.file.Size, 0)
		if err != nil {
			return message.Pos{}, err
		}
		k.body = body
	}
	return mf.known.body, nil
}

// end returns where the message ends.
func (mf *mailFile) end() (message.Pos, error) {
	n, err := mf.virtual()
	if err != nil {
		return message.Pos{}, err
	}
	return message.Pos{Phys: mf.file.Size, Virt: n}, nil
}

// structure returns the message's parts.
func (mf *mailFile) structure() (*message.Part, error) {
	if err := mf.open(true); err != nil {
		return nil, err
	}
	k := mf.known
	if b, ok := mf.rec.Get(cache.Parts); ok && k.root == nil {
		if root, err := message.DecodePart(b); err == nil {
			k.root, k.virtual, k.body = root, root.End.Virt, root.Body
		}
	}
	if k.root == nil {
		root, err := message.Parse(mf.src, mf.file.Size, message.Limits{})
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
		err = syntax.ErrShortLiteral
	}
	return err
}

// decoded tells what a part is without its transfer encoding. The part is the one
// with the given path; nil is the whole message.
func (mf *mailFile) decoded(path []int, p *message.Part) (message.Binary, error) {
	if err := mf.open(true); err != nil {
		return message.Binary{}, err
	}
	k := mf.known
	for _, b := range k.binary {
		if slices.Equal(b.path, path) {
			return b.Binary, nil
		}
	}
	var b message.Binary
	var err error
	if len(path) == 0 {
		b.Size, b.NUL, err = message.RawSize(mf.src, mf.file.Size)
	} else {
		b, err = message.MeasureBinary(mf.src, p)
	}
	if err == nil && len(k.binary) < maxKnownBinary {
		k.binary = append(k.binary, knownBinary{path, b})
	}
	return b, err
}

const maxKnownBinary = 32
