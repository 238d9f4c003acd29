package syntax

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// Lexer takes commands apart as they come from the connection. It reads ahead
// into one buffer, in which a command stays until the next one begins: what
// the methods return as []byte is valid as long and may be changed by the
// caller.
//
// The first error sticks. After it every method returns the zero value and
// every question is answered with false, so a handler takes all its arguments
// and looks at the result of End. Loops over input go on while a question such
// as Accept is answered with true. An error is an *imap.Error, with which the
// command or, if it is a BYE, the session is to be ended, or one of Source.
//
// With Source, Continue and Limits set it is ready for use, by one goroutine at a
// time.
type Lexer struct {
	// Source is the connection. Its errors are returned as they are, but for
	// io.EOF, which is io.ErrUnexpectedEOF inside a command.
	Source   io.Reader
	Continue func() // asks for a synchronising literal: writes "+ OK", or the like

	Limits Limits
	// UTF8 says that the client enabled IMAP4rev2 or UTF8=ACCEPT: mailbox
	// names are UTF-8 and not modified UTF-7.
	UTF8 bool

	buf   []byte // len: what was read
	pos   int    // what comes next
	start int    // where the current command begins
	err   error

	ended bool    // the whole command was taken
	lit   Literal // the one whose octets come next
	depth int

	ranges []mailbox.Range // all number sets of the command
}

// Limits bound what one command costs.
type Limits struct {
	Line    int   // octets of a command with its literals, but for those that are streamed
	Literal int64 // octets of one literal, but for those that are streamed
	Skip    int64 // octets of a literal that is read over; above it the connection ends
	Depth   int   // of parentheses
}

// readBuffers are the buffers of connections that have input.
var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

const (
	readBufferSize = 8 << 10
	fewOctets      = 512 // are moved to the front of the buffer rather than read on behind
)

// Buffered tells whether there is input that was not taken yet.
func (lx *Lexer) Buffered() bool { return lx.pos < len(lx.buf) }

// release gives the buffer back while there is no input.
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

// Next begins a new command. What was returned for the last one is void.
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

// fill reads more input behind what there is.
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
		err = io.ErrUnexpectedEOF // in a literal, io.EOF is its end
	}
	return err
}

func (lx *Lexer) makeRoom() error {
	if lx.buf == nil {
		lx.buf = readBuffers.Get().(*[readBufferSize]byte)[:0]
		return nil
	}
	if len(lx.buf)-lx.start > lx.Limits.Line {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeTooBig, Text: "Command is too long."}
	}
	// What was returned stays where it is: the old array is left to it.
	size := min(2*(len(lx.buf)-lx.start), lx.Limits.Line+readBufferSize)
	old := lx.buf[lx.start:]
	lx.buf = append(make([]byte, 0, max(size, readBufferSize+1)), old...)
	lx.pos -= lx.start
	lx.start = 0
	return nil
}

// Fail makes the command end with BAD and a text for people, unless it has an error.
func (lx *Lexer) Fail(format string, args ...any) {
	if lx.err == nil {
		lx.err = &imap.Error{Type: imap.StatusResponseTypeBad, Text: fmt.Sprintf(format, args...)}
	}
}

// FailWith makes the command end with err, unless it has an error.
func (lx *Lexer) FailWith(err error) {
	if lx.err == nil {
		lx.err = err
	}
}

// Err returns the first error of the command, nil if there was none so far.
func (lx *Lexer) Err() error { return lx.err }

// Peek returns the next octet without taking it; 0 after an error.
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

// Follows tells whether this text, in upper case, is next, in any case, and
// takes nothing. Where it has a space or a parenthesis begins, there may be more
// spaces, as SP and Enter take them. It reads no further than to the first difference.
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

// Accept takes c if it is next, in upper or lower case if c is a letter in
// upper case.
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

// SP takes the space between two arguments. More than one is forgiven, and none
// between two lists.
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

// More tells whether another argument follows on this line, and takes the
// space before it.
func (lx *Lexer) More() bool {
	if lx.Peek() != ' ' {
		return lx.betweenLists()
	}
	return !lx.atEnd()
}

// spaces takes spaces, if there are any.
func (lx *Lexer) spaces() {
	for lx.Accept(' ') {
	}
}

// betweenLists tells whether one list has just ended and another one begins, as in
// "(FLAGS)(CHANGEDSINCE 1)", where Dovecot misses no space either.
func (lx *Lexer) betweenLists() bool {
	return lx.Peek() == '(' && lx.pos > lx.start && lx.buf[lx.pos-1] == ')'
}

// atEnd takes spaces and tells whether the line ends here. After an error it
// does not.
func (lx *Lexer) atEnd() bool {
	lx.spaces()
	c := lx.Peek()
	return lx.err == nil && (c == '\r' || c == '\n')
}

// End takes the end of the line, CRLF or a bare LF, with spaces before it. It
// returns the first error of the command. A handler that returns without it
// leaves the rest of the command to be skipped.
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

// Skip reads over the rest of a command that failed: to the end of the line,
// and on if that ends in a literal whose octets come without being asked for. Its
// error ends the session.
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
			break // who is not told to go on does not send the literal
		}
		lx.lit = lit
	}
	lx.ended = true
	return nil
}

// skipLiteral reads over the octets of a literal that was announced, and tells
// whether the command goes on behind it.
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

// skipLine reads over the rest of the line and returns how it ends.
func (lx *Lexer) skipLine() ([]byte, error) {
	var tail []byte
	const longest = 40 // of what announces a literal
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

// refill reads more input when all was taken and nothing of it is needed.
func (lx *Lexer) refill() error {
	lx.buf, lx.pos, lx.start = lx.buf[:0], 0, 0
	return lx.fill()
}

// Upper gives the upper case of a letter of US-ASCII, and other octets as they are.
func Upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

// Await reads the first octets of the next command when nothing is buffered, and
// holds no buffer until they come. read waits for input: it reads into what lend
// lends, as soon as there is some, and calls giveBack if there turns out to be
// none; it tells how many octets it read. Its error is returned if these are none.
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
