package syntax

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// Lexer parses commands as they arrive from the connection. It reads ahead into one buffer,
// which holds the current command. A []byte that a method returns is therefore valid until the
// next command begins, and the caller may change it.
//
// The first error is sticky. After it, every method returns the zero value, and methods such as
// Accept return false. A handler can therefore take all its arguments and then check the result
// of End, provided that its loops continue only while a method such as Accept returns true. An
// error is either an *imap.Error, with which the command or, if it is a BYE, the session must
// end, or an error of Source.
//
// A Lexer with Source, Continue and Limits set is ready to use, by one goroutine at a time.
type Lexer struct {
	// Source is the connection. Its errors are returned unchanged, except that io.EOF becomes
	// io.ErrUnexpectedEOF inside a command.
	Source   io.Reader
	Continue func() // asks the client for a synchronising literal, as by writing "+ OK"

	Limits Limits
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: mailbox names are then
	// in UTF-8, not in modified UTF-7.
	UTF8 bool

	buf   []byte // the input that was read
	pos   int    // the next octet
	start int    // the first octet of the current command
	err   error

	ended bool    // the complete command was taken
	lit   Literal // the literal whose octets come next
	depth int

	ranges []mailbox.Range // memory for all number sets of the command
}

// Limits bound the cost of a command.
type Limits struct {
	Line    int   // octets of a command including its literals, except those that are streamed; at least 8 KiB
	Literal int64 // octets of a literal, unless it is streamed
	Skip    int64 // octets of a literal that is skipped; a longer one ends the connection
	Depth   int   // nested parentheses
}

// readBuffers are the buffers of connections that have pending input.
var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

const (
	readBufferSize = 8 << 10
	fewOctets      = 512 // up to so many are moved to the front of the buffer before more is read
)

// Buffered reports whether there is input that was not taken yet.
func (lx *Lexer) Buffered() bool { return lx.pos < len(lx.buf) }

// release returns the buffer to the pool if there is no pending input.
func (lx *Lexer) release() {
	if lx.Buffered() {
		return
	}
	if cap(lx.buf) == readBufferSize {
		readBuffers.Put((*[readBufferSize]byte)(lx.buf[:readBufferSize]))
	}
	lx.buf, lx.pos, lx.start = nil, 0, 0
	if cap(lx.ranges) > 64 {
		lx.ranges = nil
	}
}

// Discard gives the buffer back and forgets all input that was read ahead.
func (lx *Lexer) Discard() {
	lx.pos = len(lx.buf)
	lx.release()
}

// Next begins a new command. It invalidates what was returned for the preceding one.
func (lx *Lexer) Next() {
	if lx.pos == len(lx.buf) {
		if cap(lx.buf) > readBufferSize {
			lx.buf = nil // the last command was a big one
		}
		lx.buf, lx.pos = lx.buf[:0], 0
	} else if rest := len(lx.buf) - lx.pos; rest < fewOctets && len(lx.buf) > cap(lx.buf)-fewOctets {
		lx.buf, lx.pos = lx.buf[:copy(lx.buf, lx.buf[lx.pos:])], 0
	}
	lx.start, lx.err, lx.ended, lx.depth = lx.pos, nil, false, 0
	lx.lit = Literal{}
	lx.ranges = lx.ranges[:0]
}

// fill appends more input to the buffer.
func (lx *Lexer) fill() error {
	if len(lx.buf) == cap(lx.buf) {
		if err := lx.makeRoom(); err != nil {
			return err
		}
	}
	n, err := lx.Source.Read(lx.buf[len(lx.buf):cap(lx.buf)])
	lx.buf = lx.buf[:len(lx.buf)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the end of a literal is reported as io.EOF
	}
	return err
}

func (lx *Lexer) makeRoom() error {
	if lx.buf == nil {
		lx.buf = readBuffers.Get().(*[readBufferSize]byte)[:0]
		return nil
	}
	if len(lx.buf)-lx.start >= lx.Limits.Line {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeTooBig, Text: fmt.Sprintf("A command may have at most %d octets.", lx.Limits.Line)}
	}
	// What was returned remains valid: it keeps the old array.
	size := min(2*(len(lx.buf)-lx.start), lx.Limits.Line)
	old := lx.buf[lx.start:]
	lx.buf = append(make([]byte, 0, max(size, readBufferSize+1)), old...)
	lx.pos -= lx.start
	lx.start = 0
	return nil
}

// Fail makes the command fail with BAD and a text for the user, unless it has already failed.
func (lx *Lexer) Fail(format string, args ...any) {
	if lx.err == nil {
		lx.err = &imap.Error{Type: imap.StatusResponseTypeBad, Text: fmt.Sprintf(format, args...)}
	}
}

// FailWith makes the command fail with err, unless it has already failed.
func (lx *Lexer) FailWith(err error) {
	if lx.err == nil {
		lx.err = err
	}
}

// Err returns the first error of the command, nil if there was none yet.
func (lx *Lexer) Err() error { return lx.err }

// Peek returns the next octet without taking it, 0 after an error.
func (lx *Lexer) Peek() byte {
	if lx.pos < len(lx.buf) && lx.err == nil {
		return lx.buf[lx.pos]
	}
	if !lx.ensure(1) {
		return 0
	}
	return lx.buf[lx.pos]
}

// ensure reads until n octets are buffered.
func (lx *Lexer) ensure(n int) bool {
	for lx.err == nil && len(lx.buf)-lx.pos < n {
		lx.err = lx.fill()
	}
	return lx.err == nil
}

// Follows reports whether text, which must be in upper case, comes next in any case. It takes
// nothing. Where text has a space or a parenthesis, the input may have more spaces, like those
// that SP and Enter accept. It reads no further than the first difference.
func (lx *Lexer) Follows(text string) bool {
	n := 0
	for i := range len(text) {
		if i > 0 && (text[i-1] == ' ' || text[i-1] == '(') {
			for lx.ensure(n+1) && lx.buf[lx.pos+n] == ' ' {
				n++
			}
		}
		if !lx.ensure(n+1) || Upper(lx.buf[lx.pos+n]) != text[i] {
			return false
		}
		n++
	}
	return true
}

// Accept takes c if it is next. If c is an upper-case letter, case is ignored.
func (lx *Lexer) Accept(c byte) bool {
	got := lx.Peek()
	if lx.err != nil || Upper(got) != c {
		return false
	}
	lx.pos++
	return true
}

// Expect takes c, which must be next.
func (lx *Lexer) Expect(c byte) {
	if !lx.Accept(c) {
		lx.Fail("Expected %q.", c)
	}
}

// SP takes the space between two arguments. It also accepts several spaces, and
// none between two lists.
func (lx *Lexer) SP() {
	if !lx.Accept(' ') {
		if lx.betweenLists() {
			return
		}
		if lx.atEnd() {
			lx.Fail("Missing arguments.")
		} else {
			lx.Fail("Expected a space.")
		}
		return
	}
	lx.spaces()
}

// More reports whether another argument follows on this line, and takes the space before it.
func (lx *Lexer) More() bool {
	if lx.Peek() != ' ' {
		return lx.betweenLists()
	}
	return !lx.atEnd()
}

// spaces takes any number of spaces.
func (lx *Lexer) spaces() {
	for lx.Accept(' ') {
	}
}

// betweenLists reports whether a list has just ended and another one begins, as in
// "(FLAGS)(CHANGEDSINCE 1)". Dovecot does not require a space there either.
func (lx *Lexer) betweenLists() bool {
	return lx.Peek() == '(' && lx.pos > lx.start && lx.buf[lx.pos-1] == ')'
}

// atEnd takes spaces and reports whether the line ends here. After an error it returns false.
func (lx *Lexer) atEnd() bool {
	lx.spaces()
	c := lx.Peek()
	return lx.err == nil && (c == '\r' || c == '\n')
}

// End takes the end of the line, CRLF or a bare LF, and spaces before it. It returns
// the first error of the command. If a handler returns without calling it, the rest of
// the command is skipped.
func (lx *Lexer) End() error {
	if lx.err != nil {
		return lx.err
	}
	if !lx.atEnd() {
		lx.Fail("Too many arguments.")
		return lx.err
	}
	lx.lineEnd()
	lx.ended = lx.err == nil
	return lx.err
}

// lineEnd takes CRLF or LF.
func (lx *Lexer) lineEnd() {
	lx.Accept('\r')
	lx.Expect('\n')
}

// Skip skips the rest of a failed command: up to the end of the line, and further if that ends
// in a literal that the client sends without waiting. Its error ends the session.
func (lx *Lexer) Skip() error {
	lx.err = nil
	if lx.ended {
		return nil
	}
	for {
		more, err := lx.skipLiteral()
		if err != nil || !more {
			return err
		}
		tail, err := lx.skipLine()
		if err != nil {
			return err
		}
		lit, ok := literalAtEnd(tail)
		if !ok || lit.sync {
			break // the client does not send the literal, as it is not asked to
		}
		lx.lit = lit
	}
	lx.ended = true
	return nil
}

// skipLiteral skips the octets of an announced literal, and reports whether the
// command continues after it.
func (lx *Lexer) skipLiteral() (more bool, err error) {
	lit := lx.lit
	lx.lit = Literal{}
	if lit.sync && !lit.accepted {
		lx.ended = true
		return false, nil
	}
	if lit.left > lx.Limits.Skip {
		return false, &imap.Error{Type: imap.StatusResponseTypeBye, Code: imap.ResponseCodeTooBig, Text: "Literal is too big."}
	}
	for lit.left > 0 {
		n := int(min(lit.left, int64(len(lx.buf)-lx.pos)))
		lx.pos += n
		if lit.left -= int64(n); lit.left > 0 {
			if err := lx.refill(); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// skipLine skips the rest of the line and returns its end.
func (lx *Lexer) skipLine() ([]byte, error) {
	var tail []byte
	const longest = 40 // octets of a literal's header
	for {
		rest := lx.buf[lx.pos:]
		i := bytes.IndexByte(rest, '\n')
		if i >= 0 {
			rest = rest[:i]
			lx.pos++
		}
		lx.pos += len(rest)
		tail = append(tail, rest[max(0, len(rest)-longest):]...)
		tail = tail[max(0, len(tail)-longest):]
		if i >= 0 {
			return tail, nil
		}
		if err := lx.refill(); err != nil {
			return nil, err
		}
	}
}

// refill replaces the buffer, all of which was taken and is no longer needed, by more input.
func (lx *Lexer) refill() error {
	lx.buf, lx.pos, lx.start = lx.buf[:0], 0, 0
	return lx.fill()
}

// Upper returns the upper-case letter for a US-ASCII letter, and any other octet unchanged.
func Upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

// Await waits for the next command if nothing is buffered. It holds no buffer until the first
// octets arrive. read waits for input: when there is some, it must read into the slice that
// lend returns; if it turns out that there is none, it must call giveBack. It returns the
// number of octets. Await returns the error of read if that is zero.
func (lx *Lexer) Await(read func(lend func() []byte, giveBack func()) (int, error)) error {
	lx.release()
	n, err := read(func() []byte {
		if lx.buf == nil {
			_ = lx.makeRoom() // a buffer from the pool
		}
		lx.buf, lx.pos, lx.start = lx.buf[:0], 0, 0
		return lx.buf[:cap(lx.buf)]
	}, lx.release)
	lx.buf = lx.buf[:n]
	if n > 0 {
		return nil
	}
	lx.release()
	if err == nil {
		err = io.EOF
	}
	return err
}
