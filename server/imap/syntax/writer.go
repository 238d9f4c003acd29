package syntax

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"maildird/maildir/folder"
	"maildird/maildir/message"
)

// Writer composes responses in a buffer, which is sent when it is full and by Flush. The first
// error is sticky; after it nothing more is sent. A Writer with Dest set is ready to use, by
// one goroutine at a time.
type Writer struct {
	Dest io.Writer
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: quoted strings may then
	// contain UTF-8, and mailbox names are not in modified UTF-7.
	UTF8 bool
	// Rev2 is set once the client has enabled IMAP4rev2: it then knows that parts of type
	// message/global contain messages.
	Rev2 bool

	buf []byte // nil if there is nothing to send
	err error
	lit int64 // octets of the current literal that have not been written yet
}

const writeBufferSize = 32 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBufferSize]byte) }}

// ErrShortLiteral is the error of a literal with fewer octets than announced.
// It ends the output.
var ErrShortLiteral = errors.New("message turned out shorter than announced")

// Flush sends the contents of the buffer and releases it. It returns Err.
func (w *Writer) Flush() error {
	w.send()
	if w.buf != nil {
		writeBuffers.Put((*[writeBufferSize]byte)(w.buf[:writeBufferSize]))
		w.buf = nil
	}
	return w.err
}

// send sends the contents of the buffer.
func (w *Writer) send() {
	if len(w.buf) > 0 && w.err == nil {
		_, w.err = w.Dest.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// Err returns the error that ended the output, nil if there was none.
func (w *Writer) Err() error { return w.err }

// room ensures that 64 octets fit into the buffer.
func (w *Writer) room() {
	if w.buf == nil {
		w.buf = writeBuffers.Get().(*[writeBufferSize]byte)[:0]
	}
	if cap(w.buf)-len(w.buf) < 64 {
		w.send()
	}
}

// Reserve returns the buffer with room for at least n more octets; n must be at most half the
// buffer size. The caller must append to it and pass it to Put before anything else is written.
func (w *Writer) Reserve(n int) []byte {
	w.room()
	if cap(w.buf)-len(w.buf) < n {
		w.send()
	}
	return w.buf
}

// Put takes the buffer that Reserve returned, with what was appended to it.
func (w *Writer) Put(b []byte) { w.buf = b }

// Byte writes one octet.
func (w *Writer) Byte(c byte) {
	w.room()
	w.buf = append(w.buf, c)
}

// SP writes a space.
func (w *Writer) SP() { w.Byte(' ') }

// CRLF writes the end of a line.
func (w *Writer) CRLF() { w.Raw("\r\n") }

// Raw writes s unchanged.
func (w *Writer) Raw(s string) {
	for {
		w.room()
		n := min(len(s), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, s[:n]...)
		if s = s[n:]; s == "" {
			return
		}
	}
}

// RawBytes writes b unchanged. It avoids copying long slices to the buffer.
func (w *Writer) RawBytes(b []byte) {
	w.room()
	n := min(len(b), cap(w.buf)-len(w.buf))
	w.buf = append(w.buf, b[:n]...)
	b = b[n:]
	if len(b) == 0 {
		return
	}
	w.send()
	if len(b) < writeBufferSize {
		w.buf = append(w.buf, b...)
	} else if w.err == nil {
		_, w.err = w.Dest.Write(b)
	}
}

// Number writes a number.
func (w *Writer) Number(n uint64) {
	w.room()
	w.buf = strconv.AppendUint(w.buf, n, 10)
}

// Str writes a string, quoted if possible. A NUL, which no string may contain (RFC 9051 section
// 9, CHAR8), becomes 0x80, as in the text of a message.
func (w *Writer) Str(s string) {
	if !w.quotable(s) {
		w.Literal(int64(len(s)))
		_, _ = io.WriteString(w, strings.ReplaceAll(s, "\x00", "\x80"))
		w.EndLiteral()
		return
	}
	w.Byte('"')
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		w.Raw(s)
	} else {
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				w.Byte('\\')
			}
			w.Byte(s[i])
		}
	}
	w.Byte('"')
}

// NString writes a string, or NIL if ok is false.
func (w *Writer) NString(s string, ok bool) {
	if !ok {
		w.Raw("NIL")
		return
	}
	w.Str(s)
}

// longestQuoted is the longest string that is sent as a quoted string, because some clients
// read lines into buffers of a fixed size.
const longestQuoted = 1024

// quotable reports whether s can be sent as a quoted string.
func (w *Writer) quotable(s string) bool {
	if len(s) > longestQuoted {
		return false
	}
	ascii := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0, c == '\r', c == '\n':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || w.UTF8 && utf8.ValidString(s)
}

// Mailbox writes a mailbox name, which must be in UTF-8, as a string.
func (w *Writer) Mailbox(name string) {
	if !w.UTF8 {
		name = folder.EncodeUTF7(name)
	}
	w.Str(name)
}

// Literal writes the header of a literal of size octets. They must be written with
// Write, followed by EndLiteral.
func (w *Writer) Literal(size int64) {
	w.Byte('{')
	w.Number(uint64(size))
	w.Raw("}\r\n")
	w.lit = size
}

// Literal8 is Literal for octets that may include NUL (RFC 3516).
func (w *Writer) Literal8(size int64) {
	w.Byte('~')
	w.Literal(size)
}

// Write writes octets of the current literal. Octets beyond the announced size are not sent,
// and io.ErrShortWrite is returned.
func (w *Writer) Write(p []byte) (int, error) {
	n := int(min(int64(len(p)), w.lit))
	w.lit -= int64(n)
	w.RawBytes(p[:n])
	if w.err != nil {
		return 0, w.err
	}
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// Convert writes b with CRLF line ends to the current literal. b must not contain NUL. before
// is the octet before b.
func (w *Writer) Convert(b []byte, before byte) {
	for len(b) > 0 {
		w.room()
		n := min(len(b), (cap(w.buf)-len(w.buf))/2)
		from := len(w.buf)
		w.buf = message.AppendVirtual(w.buf, b[:n], before)
		if w.lit -= int64(len(w.buf) - from); w.lit < 0 {
			w.buf = w.buf[:from]
			w.Fail(ErrShortLiteral)
			return
		}
		before = b[n-1]
		b = b[n:]
	}
}

// EndLiteral ends a literal. If octets are missing, the connection cannot continue: the client
// would take the next response for part of the message.
func (w *Writer) EndLiteral() {
	if w.lit != 0 {
		w.Fail(ErrShortLiteral)
	}
	w.lit = 0
}

// StartLine begins a new line, unless output is at the start of one. It is called after a panic
// in the middle of a response.
func (w *Writer) StartLine() {
	if w.lit != 0 {
		w.Fail(ErrShortLiteral)
	}
	if n := len(w.buf); n > 0 && w.buf[n-1] != '\n' {
		w.CRLF()
	}
}

// Fail ends all output after an error that leaves the client unable to
// interpret further octets.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.send()
	}
	if w.err == nil {
		w.err = err
	}
}
