package imap

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

// writer puts responses together in one buffer, which is sent when it is full
// and when flush is called. The first error sticks; after it nothing is sent.
type writer struct {
	dst io.Writer
	buf []byte // nil while there is nothing to send
	err error
	lit int64 // octets that the open literal still lacks

	// utf8 says that the client enabled IMAP4rev2 or UTF8=ACCEPT: quoted
	// strings may hold UTF-8, and mailbox names are not in modified UTF-7.
	utf8 bool
}

const writeBufferSize = 32 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBufferSize]byte) }}

var errShortLiteral = errors.New("message turned out shorter than announced")

// flush sends what there is and gives the buffer back.
func (w *writer) flush() error {
	w.send()
	if w.buf != nil {
		writeBuffers.Put((*[writeBufferSize]byte)(w.buf[:writeBufferSize]))
		w.buf = nil
	}
	return w.err
}

// send sends what there is.
func (w *writer) send() {
	if len(w.buf) > 0 && w.err == nil {
		_, w.err = w.dst.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// room makes sure that some octets fit into the buffer.
func (w *writer) room() {
	if w.buf == nil {
		w.buf = writeBuffers.Get().(*[writeBufferSize]byte)[:0]
	}
	if cap(w.buf)-len(w.buf) < 64 {
		w.send()
	}
}

// reserve returns the buffer with room for at least n octets more, no more than
// half of it: append to it and put it back into buf.
func (w *writer) reserve(n int) []byte {
	w.room()
	if cap(w.buf)-len(w.buf) < n {
		w.send()
	}
	return w.buf
}

// byte writes one octet.
func (w *writer) byte(c byte) {
	w.room()
	w.buf = append(w.buf, c)
}

func (w *writer) sp()   { w.byte(' ') }
func (w *writer) crlf() { w.raw("\r\n") }

// raw writes s as it is.
func (w *writer) raw(s string) {
	for {
		w.room()
		n := min(len(s), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, s[:n]...)
		if s = s[n:]; s == "" {
			return
		}
	}
}

// rawBytes writes b as it is. What does not fit into the buffer is not copied.
func (w *writer) rawBytes(b []byte) {
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
		_, w.err = w.dst.Write(b)
	}
}

// num writes a number.
func (w *writer) num(n uint64) {
	w.room()
	w.buf = strconv.AppendUint(w.buf, n, 10)
}

// str writes a string, quoted if it can be.
func (w *writer) str(s string) {
	if !w.quotable(s) {
		w.literal(int64(len(s)))
		_, _ = io.WriteString(w, s)
		w.endLiteral()
		return
	}
	w.byte('"')
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		w.raw(s)
	} else {
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				w.byte('\\')
			}
			w.byte(s[i])
		}
	}
	w.byte('"')
}

// nstr writes a string, or NIL if ok is false.
func (w *writer) nstr(s string, ok bool) {
	if !ok {
		w.raw("NIL")
		return
	}
	w.str(s)
}

// longestQuoted bounds what is sent as a quoted string; some clients read
// lines into buffers of a fixed size.
const longestQuoted = 1024

// quotable tells whether s can be sent as a quoted string.
func (w *writer) quotable(s string) bool {
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
	return ascii || w.utf8 && utf8.ValidString(s)
}

// mailbox writes the name of a mailbox, always quoted.
func (w *writer) mailbox(name string) {
	if !w.utf8 {
		name = folder.EncodeUTF7(name)
	}
	w.str(name)
}

// literal announces a literal of size octets: write them with Write, then call
// endLiteral.
func (w *writer) literal(size int64) {
	w.byte('{')
	w.num(uint64(size))
	w.raw("}\r\n")
	w.lit = size
}

// literal8 is literal for octets among which may be NUL (RFC 3516).
func (w *writer) literal8(size int64) {
	w.byte('~')
	w.literal(size)
}

// Write writes octets of the open literal; what is more than was announced is
// not sent and gives io.ErrShortWrite.
func (w *writer) Write(p []byte) (int, error) {
	n := int(min(int64(len(p)), w.lit))
	w.lit -= int64(n)
	w.rawBytes(p[:n])
	if w.err != nil {
		return 0, w.err
	}
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// convert writes the CRLF form of b, which has no NUL, into the open literal.
// before is the byte before b.
func (w *writer) convert(b []byte, before byte) {
	for len(b) > 0 {
		w.room()
		n := min(len(b), (cap(w.buf)-len(w.buf))/2)
		from := len(w.buf)
		w.buf = message.AppendVirtual(w.buf, b[:n], before)
		if w.lit -= int64(len(w.buf) - from); w.lit < 0 {
			w.buf = w.buf[:from]
			w.fail(errShortLiteral)
			return
		}
		before = b[n-1]
		b = b[n:]
	}
}

// endLiteral ends a literal. If octets are missing, the connection cannot go
// on: the client would take what follows for a part of the message.
func (w *writer) endLiteral() {
	if w.lit != 0 {
		w.fail(errShortLiteral)
	}
	w.lit = 0
}

// startLine makes sure that what comes next stands on a line of its own, after
// a panic in the middle of a response.
func (w *writer) startLine() {
	if w.lit != 0 {
		w.fail(errShortLiteral)
	}
	if n := len(w.buf); n > 0 && w.buf[n-1] != '\n' {
		w.crlf()
	}
}

// fail ends all output, for an error after which the client could not tell
// what the next octets are.
func (w *writer) fail(err error) {
	if w.err == nil {
		w.send()
	}
	if w.err == nil {
		w.err = err
	}
}
