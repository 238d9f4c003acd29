// Package mailfile is one message as FETCH, SEARCH and SORT read it: what the cache
// has of it and, when that is not enough, its file, which is opened then. Who reads
// asks for the header, the parts or what the cache keeps rendered (rendering.go), and
// need not know where it comes from; what was read is given to the cache.
//
// It knows neither sessions nor commands. What a section of FETCH is in a message
// (package imap, fetchpart.go) does not belong here, nor how headers and parts are
// written (package render) or taken apart (package message).
package mailfile

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

// File is one message. What was read once is kept, and not read again. For one
// goroutine at a time.
type File struct {
	view  *mailbox.View
	m     mailbox.Message
	known *Known
	room  *room

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

// Known is what is known of the parts of one file. A session keeps it of the
// message that it served last a piece of, so that the next piece costs neither a
// scan nor a parse. Zero: nothing is known.
type Known struct {
	uid   uint32
	size  int64
	mtime time.Time

	virtual int64         // octets in CRLF form, 0 if not known
	body    message.Pos   // where the header ends, zero if not known
	root    *message.Part // nil if not known
	at      message.Pos   // where the last copy ended
	binary  []knownBinary // decoded parts whose size was counted
}

// knownBinary is what is known of the part with a path.
type knownBinary struct {
	path []int
	message.Binary
}

// maxKnownBinary bounds how many of them are kept.
const maxKnownBinary = 32

const (
	// ReadAhead is how many octets are read of a file at once, if all of it is
	// wanted: a message that is no longer is in memory then.
	ReadAhead = 64 << 10
	// ReadHeader is how many are read at once if only the header is wanted, and the
	// room that every message has.
	ReadHeader = 16 << 10
	// maxHeader bounds the header that is held in memory. What is beyond is not
	// found by HEADER.FIELDS, ENVELOPE and SEARCH; BODY[HEADER] has it.
	maxHeader = 1 << 20
)

// room is the memory of one File, which the next one takes over.
type room struct {
	mail   File
	ahead  [ReadHeader]byte
	more   *[ReadAhead]byte // from aheadRooms, nil if ahead is enough
	memory bytes.Reader     // of ahead or more
	head   []byte
	pieces []byte // renderings, one after the other
	known  Known
	render renderer
}

var (
	rooms      = sync.Pool{New: func() any { return new(room) }}
	aheadRooms = sync.Pool{New: func() any { return new([ReadAhead]byte) }}
)

// New returns a message for reading. known is used and changed; it may be of
// another message, and nil. rec is what the cache has, zero for nothing. check
// is asked by whoever reads whether there is use in going on. Close it.
func New(view *mailbox.View, m mailbox.Message, known *Known, rec cache.Record, check func() error) *File {
	r := rooms.Get().(*room)
	if known == nil {
		known = &r.known
	}
	r.mail = File{view: view, m: m, known: known, room: r, rec: rec, cached: rec.Has(), check: check}
	return &r.mail
}

// Own makes the record of the cache good for longer than until the next one is
// read.
func (f *File) Own() { f.room.pieces = f.rec.MoveTo(f.room.pieces) }

// SetCheck puts another check in the place of New's, for who takes the message over
// from another goroutine.
func (f *File) SetCheck(check func() error) { f.check = check }

// Close gives back all that the message has, also what it returned.
func (f *File) Close() {
	r := f.room
	if f.opened {
		_ = f.file.Close()
	}
	if n := cap(f.head); n > 0 && n <= ReadAhead {
		r.head = f.head[:0]
	}
	if cap(r.pieces) > ReadAhead {
		r.pieces = nil
	}
	if r.render.out.Cap() > ReadAhead {
		r.render.out = bytes.Buffer{}
	}
	if r.more != nil {
		aheadRooms.Put(r.more)
		r.more = nil
	}
	r.pieces = r.pieces[:0]
	r.mail, r.known = File{}, Known{}
	rooms.Put(r)
}

// UID returns the message's UID.
func (f *File) UID() uint32 { return f.m.UID }

// Open opens the file, if it is not open, and reads its beginning: all of a
// small message if whole is set.
func (f *File) Open(whole bool) error {
	if f.opened {
		return nil
	}
	r, file := f.room, &f.file
	err := f.view.OpenInto(file, f.m, func(size int64) []byte {
		if !whole || size <= ReadHeader {
			return r.ahead[:]
		}
		r.more = aheadRooms.Get().(*[ReadAhead]byte)
		return r.more[:]
	})
	if err != nil {
		return err
	}
	f.opened = true
	if k := f.known; k.uid != f.m.UID || k.size != file.Size || !k.mtime.Equal(file.Mtime) {
		*k = Known{uid: f.m.UID, size: file.Size, mtime: file.Mtime}
	}
	f.adopt()
	if int64(len(file.Begin)) == file.Size {
		f.text = file.Begin
		r.memory.Reset(f.text)
		f.src = &r.memory
	} else {
		f.src = &aheadReader{file.Begin, message.Checked(file, func() error { return f.check() })}
	}
	return nil
}

// adopt goes on with what the cache has of the file that was opened, if it is
// still the one that the cache knows.
func (f *File) adopt() {
	rec := &f.rec
	if rec.Has() == 0 {
		return
	}
	if rec.Size != f.file.Size || !rec.Mtime.Equal(f.file.Mtime) {
		f.view.Forget(f.m)
		*rec, f.cached = cache.Record{}, 0
		return
	}
	if rec.Virtual > 0 {
		f.known.virtual = rec.Virtual
	}
}

// Opened tells whether the file is open; what follows here is for such a one.
func (f *File) Opened() bool { return f.opened }

// Source is the text as it stands in the file.
func (f *File) Source() io.ReaderAt { return f.src }

// Octets is how long that is.
func (f *File) Octets() int64 { return f.file.Size }

// Text is all of it, nil if it is too long to be held in memory, or only its
// beginning was wanted.
func (f *File) Text() []byte { return f.text }

// Mtime is the file's modification time.
func (f *File) Mtime() time.Time { return f.file.Mtime }

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

// Size returns the octets of the message in CRLF form, as others counted them if
// that can be, and tells the view.
func (f *File) Size() (int64, error) {
	if f.known.virtual == 0 {
		if n, ok := f.view.KnownSize(f.m); ok && n >= f.file.Size && n <= 2*f.file.Size {
			return n, nil
		}
	}
	n, err := f.virtual()
	if err == nil {
		f.view.SetSize(f.m, n, f.file.Source)
	}
	return n, err
}

// virtual returns the octets of the message in CRLF form, as counted.
func (f *File) virtual() (int64, error) {
	if err := f.Open(true); err != nil {
		return 0, err
	}
	k := f.known
	if k.virtual == 0 && f.file.Size > 0 {
		n, err := message.VirtualSize(f.src, f.file.Size)
		if err != nil {
			return 0, err
		}
		k.virtual = n
	}
	return k.virtual, nil
}

// CachedHeader returns the header of the message in CRLF form, if the cache has it
// or it was read, all of it.
func (f *File) CachedHeader() ([]byte, bool) { return f.rec.Get(cache.Header) }

// Header returns the header of the message in CRLF form, no more than 1 MiB of it.
func (f *File) Header() ([]byte, error) {
	if b, ok := f.CachedHeader(); ok {
		return b, nil
	}
	if len(f.head) > 0 {
		return f.head, nil
	}
	if err := f.Open(false); err != nil {
		return nil, err
	}
	head, body, err := message.ReadHeader(f.room.head, f.src, f.file.Size, maxHeader)
	if err != nil {
		return nil, err
	}
	f.head, f.known.body = head, body
	if int64(len(head)) == body.Virt {
		f.rec.Set(cache.Header, head)
	}
	return head, nil
}

// PartHeader returns the header of a part, as Header does that of the message. The
// file is open.
func (f *File) PartHeader(p *message.Part) ([]byte, error) {
	return message.Header(f.src, p, maxHeader)
}

// BodyBegin returns where the header ends.
func (f *File) BodyBegin() (message.Pos, error) {
	if err := f.Open(false); err != nil {
		return message.Pos{}, err
	}
	if k := f.known; k.body == (message.Pos{}) {
		_, body, err := message.ReadHeader(nil, f.src, f.file.Size, 0)
		if err != nil {
			return message.Pos{}, err
		}
		k.body = body
	}
	return f.known.body, nil
}

// End returns where the message ends.
func (f *File) End() (message.Pos, error) {
	n, err := f.virtual()
	if err != nil {
		return message.Pos{}, err
	}
	return message.Pos{Phys: f.file.Size, Virt: n}, nil
}

// Structure returns the message's parts.
func (f *File) Structure() (*message.Part, error) {
	if err := f.Open(true); err != nil {
		return nil, err
	}
	k := f.known
	if b, ok := f.rec.Get(cache.Parts); ok && k.root == nil {
		if root, err := message.DecodePart(b); err == nil {
			k.root, k.virtual, k.body = root, root.End.Virt, root.Body
		}
	}
	if k.root == nil {
		root, err := message.Parse(f.src, f.file.Size)
		if err != nil {
			return nil, err
		}
		k.root, k.virtual, k.body = root, root.End.Virt, root.Body
	}
	return k.root, nil
}

// Part returns the part with a number, nil if there is none.
func (f *File) Part(path []int) (*message.Part, error) {
	root, err := f.Structure()
	if err != nil {
		return nil, err
	}
	p, ok := root.Find(path)
	if !ok {
		return nil, nil
	}
	return p, nil
}

// CopyTo writes octets from, up to but not including, to of the message in
// CRLF form, where start is a place not behind them. The file is open.
func (f *File) CopyTo(w io.Writer, start, end message.Pos, from, to int64) error {
	if at := f.known.at; at.Virt <= from && at.Virt > start.Virt {
		start = at
	}
	n, at, err := message.CopyVirtual(w, f.src, start, end, from-start.Virt, to-from)
	f.known.at = at
	if err == nil && n < to-from {
		err = syntax.ErrShortLiteral
	}
	return err
}

// Decoded tells what a part is without its transfer encoding. The part is the one
// with the given path; nil is the whole message.
func (f *File) Decoded(path []int, p *message.Part) (message.Binary, error) {
	if err := f.Open(true); err != nil {
		return message.Binary{}, err
	}
	k := f.known
	for _, b := range k.binary {
		if slices.Equal(b.path, path) {
			return b.Binary, nil
		}
	}
	var b message.Binary
	var err error
	if len(path) == 0 {
		b.Size, b.NUL, err = message.RawSize(f.src, f.file.Size)
	} else {
		b, err = message.MeasureBinary(f.src, p)
	}
	if err == nil && len(k.binary) < maxKnownBinary {
		k.binary = append(k.binary, knownBinary{path, b})
	}
	return b, err
}
