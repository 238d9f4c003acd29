// Package mailfile reads a message for FETCH, SEARCH and SORT. It uses what the cache has of
// the message, and opens the file only if that is not enough. A caller asks for the header, the
// parts, or what the cache keeps in rendered form (rendering.go), and need not know where it
// comes from; what was read is added to the cache.
//
// The package knows nothing about sessions and commands. How a section of FETCH is found in a
// message belongs in package imap (fetchpart.go), how headers and parts are written in package
// render, and how they are parsed in package message.
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

// File is a message. It keeps what it has read and does not read it again. Only one goroutine
// at a time may use it.
type File struct {
	view  *mailbox.View
	m     mailbox.Message
	known *Known
	room  *room

	// rec is what the cache has, and what was added since. The cache's memory is valid until
	// the next record is read.
	rec    cache.Record
	cached cache.Kinds // the kinds of rec that came from the cache

	check func() error // its error ends the reading of a long text

	opened bool
	told   bool // the cache knows the size and date of the file
	file   mailbox.File
	src    io.ReaderAt // the file, with the beginning from memory
	text   []byte      // the complete file, if it was read ahead
	head   []byte      // the header with CRLF line ends, if rec does not have it
}

// Known is what is known about the parts of a file. A session keeps it for the message of which
// it last served a piece, so that the next piece requires neither a scan nor a parse, unless the
// message has very many parts. The zero value means that nothing is known.
type Known struct {
	uid   uint32
	size  int64
	mtime time.Time

	virtual int64         // octets with CRLF line ends; 0 if not known
	body    message.Pos   // the end of the header; zero if not known
	root    *message.Part // nil if not known
	at      message.Pos   // the end of the last copy
	binary  []knownBinary // decoded parts whose sizes were counted
}

// knownBinary is the decoding of the part with a path.
type knownBinary struct {
	path []int
	message.Binary
}

// maxKnownBinary is the maximum number of them.
const maxKnownBinary = 32

const (
	// readAhead is how many octets of a file are read at once if all of it is needed. Messages
	// up to this size are kept in memory.
	readAhead = 64 << 10
	// readHeader is how many octets are read at once if only the header is needed. Every
	// message has a buffer of this size.
	readHeader = 16 << 10
	// maxHeader is how much of a header is held in memory, in octets. HEADER.FIELDS, ENVELOPE
	// and SEARCH do not find what is beyond it; BODY[HEADER] includes it.
	maxHeader = 1 << 20
	// maxKnownParts is how many octets the parts in a Known may take once its File is closed.
	maxKnownParts = 1 << 20
)

// room is the memory of a File, which is reused.
type room struct {
	mail   File
	ahead  [readHeader]byte
	more   *[readAhead]byte // from aheadRooms; nil if ahead is large enough
	memory bytes.Reader     // reads ahead or more
	head   []byte
	pieces []byte // renderings, one after the other
	known  Known
	render renderer
}

var (
	rooms      = sync.Pool{New: func() any { return new(room) }}
	aheadRooms = sync.Pool{New: func() any { return new([readAhead]byte) }}
)

// New returns a message to read. known is used and updated; it may be about another message,
// and may be nil. rec is the record of the cache, zero if there is none. check is called from
// time to time during long reads; its error ends them. The caller must call Close.
func New(view *mailbox.View, m mailbox.Message, known *Known, rec cache.Record, check func() error) *File {
	r := rooms.Get().(*room)
	if known == nil {
		known = &r.known
	}
	r.mail = File{view: view, m: m, known: known, room: r, rec: rec, cached: rec.Has(), check: check}
	return &r.mail
}

// Own copies the cache's memory, so that it stays valid when the next record is read.
func (f *File) Own() { f.room.pieces = f.rec.MoveTo(f.room.pieces) }

// SetCheck replaces the check of New. It is for a goroutine that takes over the
// message from another one.
func (f *File) SetCheck(check func() error) { f.check = check }

// Close releases all memory of the message, including what its methods have returned.
func (f *File) Close() {
	r := f.room
	if f.opened {
		_ = f.file.Close()
	}
	if root := f.known.root; root != nil && root.Memory() > maxKnownParts {
		f.known.root = nil
	}
	if n := cap(f.head); n > 0 && n <= readAhead {
		r.head = f.head[:0]
	}
	if cap(r.pieces) > readAhead {
		r.pieces = nil
	}
	if r.render.out.Cap() > readAhead {
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

// Open opens the file, unless it is open, and reads its beginning; with whole, all
// of a small message.
func (f *File) Open(whole bool) error {
	if f.opened {
		return nil
	}
	r, file := f.room, &f.file
	err := f.view.Open(file, f.m, func(size int64) []byte {
		if !whole || size <= readHeader {
			return r.ahead[:]
		}
		r.more = aheadRooms.Get().(*[readAhead]byte)
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

// adopt keeps what the cache has if it is still about the file that was opened,
// and drops it otherwise.
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

// Opened reports whether the file is open. The following methods require that.
func (f *File) Opened() bool { return f.opened }

// Source returns the octets of the file.
func (f *File) Source() io.ReaderAt { return f.src }

// Octets returns the size of the file.
func (f *File) Octets() int64 { return f.file.Size }

// Text returns the complete file, nil if it is too long to be held in memory or only
// its beginning was read.
func (f *File) Text() []byte { return f.text }

// Mtime returns the modification time of the file.
func (f *File) Mtime() time.Time { return f.file.Mtime }

// aheadReader reads a file whose beginning is in memory.
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

// Size returns the size of the message with CRLF line ends. It trusts a size that the view
// knows if that is plausible; otherwise it counts, and tells the view.
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

// virtual counts the octets of the message with CRLF line ends.
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

// CachedHeader returns the complete header with CRLF line ends, if it is in the cache
// or was already read.
func (f *File) CachedHeader() ([]byte, bool) { return f.rec.Get(cache.Header) }

// Header returns the header with CRLF line ends, at most 1 MiB of it.
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

// PartHeader returns the header of a part, as Header does for the message. The
// file must be open.
func (f *File) PartHeader(p *message.Part) ([]byte, error) {
	return message.Header(f.src, p, maxHeader)
}

// BodyBegin returns the end of the header.
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

// End returns the end of the message.
func (f *File) End() (message.Pos, error) {
	n, err := f.virtual()
	if err != nil {
		return message.Pos{}, err
	}
	return message.Pos{Phys: f.file.Size, Virt: n}, nil
}

// Structure returns the MIME structure of the message.
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

// Part returns the part with a part number, nil if there is none.
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

// CopyTo copies the octets in [from, to) of the message with CRLF line ends to w. start is any
// known position at or before from, and end the end of the section. The file must be open.
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

// Decoded returns what is known of a part without its transfer encoding. p is the part with the
// given path; for the whole message, path is empty.
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
