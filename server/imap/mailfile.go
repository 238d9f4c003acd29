package imap

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"time"

	"maildird/maildir/mailbox"
	"maildird/maildir/message"
)

// mailFile is the open file of one message, for a command that reads it. What
// it is asked for it reads once.
type mailFile struct {
	*mailbox.File
	src   io.ReaderAt // the file behind what was read ahead
	known *knownFile
	ahead *[readAhead]byte
	head  []byte // the header, in CRLF form
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

var aheadBuffers = sync.Pool{New: func() any { return new([readAhead]byte) }}

// openMail opens the file of a message and reads its beginning: all of a small
// message if whole is set. known is used and changed; it may be of another
// message. The header goes to head[:0], which may be nil. Close the file.
func openMail(view *mailbox.View, m mailbox.Message, known *knownFile, head []byte, whole bool) (*mailFile, error) {
	f, err := view.Open(m)
	if err != nil {
		return nil, err
	}
	if known.uid != m.UID || known.size != f.Size || !known.mtime.Equal(f.Mtime) {
		*known = knownFile{uid: m.UID, size: f.Size, mtime: f.Mtime}
	}
	mf := &mailFile{File: f, src: f, known: known, head: head[:0]}
	n := min(f.Size, readAhead)
	if !whole {
		n = min(n, readHeader)
	}
	mf.ahead = aheadBuffers.Get().(*[readAhead]byte)
	got, err := f.ReadAt(mf.ahead[:n], 0)
	if err != nil && err != io.EOF {
		mf.close()
		return nil, err
	}
	if int64(got) == f.Size {
		mf.src = bytes.NewReader(mf.ahead[:got])
	} else {
		mf.src = &aheadReader{mf.ahead[:got], f}
	}
	return mf, nil
}

func (mf *mailFile) close() {
	aheadBuffers.Put(mf.ahead)
	mf.ahead, mf.src = nil, nil
	_ = mf.File.Close()
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

// virtual returns the octets of the message in CRLF form, as counted.
func (mf *mailFile) virtual() (int64, error) {
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
// maxHeader octets of it, and where it ends.
func (mf *mailFile) header() ([]byte, message.Pos, error) {
	if len(mf.head) > 0 {
		return mf.head, mf.known.body, nil
	}
	head, body, err := message.ReadHeader(mf.head, mf.src, mf.Size, maxHeader)
	if err != nil {
		return nil, message.Pos{}, err
	}
	mf.head, mf.known.body = head, body
	return head, body, nil
}

// bodyBegin returns where the header ends.
func (mf *mailFile) bodyBegin() (message.Pos, error) {
	if mf.known.body != (message.Pos{}) {
		return mf.known.body, nil
	}
	_, body, err := mf.header()
	return body, err
}

// end returns where the message ends.
func (mf *mailFile) end() (message.Pos, error) {
	n, err := mf.virtual()
	return message.Pos{Phys: mf.Size, Virt: n}, err
}

// structure returns the message's parts.
func (mf *mailFile) structure() (*message.Part, error) {
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
