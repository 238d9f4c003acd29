package imap

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// lexer takes commands apart as they come from the connection. It reads ahead
// into one buffer, in which a command stays until the next one begins: what
// the methods return as []byte is valid as long and may be changed by the
// caller.
//
// The first error sticks. After it every method returns the zero value and
// every question is answered with false, so a handler takes all its arguments
// and looks at the result of end. Loops over input go on while a question such
// as accept is answered with true.
type lexer struct {
	src     io.Reader
	grammar *grammar
	cont    func() // writes "+ OK" before a synchronising literal is read

	buf   []byte // len: what was read
	pos   int    // what comes next
	start int    // where the current command begins
	err   error

	limits lexLimits
	ended  bool    // the whole command was taken
	lit    literal // the one whose octets come next
	depth  int

	ranges []mailbox.Range // all number sets of the command

	// utf8 says that the client enabled IMAP4rev2 or UTF8=ACCEPT: mailbox
	// names are UTF-8 and not modified UTF-7.
	utf8 bool
}

// lexLimits bound what one command costs.
type lexLimits struct {
	line    int   // octets of a command with its literals, but for those of APPEND
	literal int64 // octets of one literal, but for those of APPEND
	message int64 // octets of a message of APPEND
	skip    int64 // octets of a literal that is read over; above it the connection ends
	depth   int   // of parentheses
}

// readBuffers are the buffers of connections that have input.
var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

const (
	readBufferSize = 8 << 10
	fewOctets      = 512 // are moved to the front of the buffer rather than read on behind
)

func newLexer(src io.Reader, g *grammar, limits lexLimits, cont func()) *lexer {
	return &lexer{src: src, grammar: g, cont: cont, limits: limits}
}

// buffered tells whether there is input that was not taken yet.
func (lx *lexer) buffered() bool { return lx.pos < len(lx.buf) }

// release gives the buffer back while there is no input.
func (lx *lexer) release() {
	if lx.buffered() {
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

// discard forgets all input that was read ahead.
func (lx *lexer) discard() {
	lx.pos = len(lx.buf)
	lx.release()
}

// next begins a new command. What was returned for the last one is void.
func (lx *lexer) next() {
	if lx.pos == len(lx.buf) {
		if cap(lx.buf) > readBufferSize {
			lx.buf = nil // the last command was a big one
		}
		lx.buf, lx.pos = lx.buf[:0], 0
	} else if rest := len(lx.buf) - lx.pos; rest < fewOctets && len(lx.buf) > cap(lx.buf)-fewOctets {
		lx.buf, lx.pos = lx.buf[:copy(lx.buf, lx.buf[lx.pos:])], 0
	}
	lx.start, lx.err, lx.ended, lx.depth = lx.pos, nil, false, 0
	lx.lit = literal{}
	lx.ranges = lx.ranges[:0]
}

// fill reads more input behind what there is.
func (lx *lexer) fill() error {
	if len(lx.buf) == cap(lx.buf) {
		if err := lx.makeRoom(); err != nil {
			return err
		}
	}
	n, err := lx.src.Read(lx.buf[len(lx.buf):cap(lx.buf)])
	lx.buf = lx.buf[:len(lx.buf)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return &connError{err}
}

func (lx *lexer) makeRoom() error {
	if lx.buf == nil {
		lx.buf = readBuffers.Get().(*[readBufferSize]byte)[:0]
		return nil
	}
	if len(lx.buf)-lx.start > lx.limits.line {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeTooBig, Text: "Command is too long."}
	}
	// What was returned stays where it is: the old array is left to it.
	size := min(2*(len(lx.buf)-lx.start), lx.limits.line+readBufferSize)
	old := lx.buf[lx.start:]
	lx.buf = append(make([]byte, 0, max(size, readBufferSize+1)), old...)
	lx.pos -= lx.start
	lx.start = 0
	return nil
}

// fail makes the command a BAD one, unless it is already.
func (lx *lexer) fail(format string, args ...any) {
	if lx.err == nil {
		lx.err = &imap.Error{Type: imap.StatusResponseTypeBad, Text: fmt.Sprintf(format, args...)}
	}
}

// failWith makes err the result of the command, unless it has one.
func (lx *lexer) failWith(err error) {
	if lx.err == nil {
		lx.err = err
	}
}

// peek returns the next octet without taking it; 0 after an error.
func (lx *lexer) peek() byte {
	if lx.pos < len(lx.buf) && lx.err == nil {
		return lx.buf[lx.pos]
	}
	if !lx.ensure(1) {
		return 0
	}
	return lx.buf[lx.pos]
}

// ensure reads until n octets are buffered.
func (lx *lexer) ensure(n int) bool {
	for lx.err == nil && len(lx.buf)-lx.pos < n {
		lx.err = lx.fill()
	}
	return lx.err == nil
}

// follows tells whether this text, in upper case, is next, in any case, and
// takes nothing. It reads no further than to the first difference.
func (lx *lexer) follows(text string) bool {
	for i := range len(text) {
		if !lx.ensure(i+1) || upper(lx.buf[lx.pos+i]) != text[i] {
			return false
		}
	}
	return true
}

// accept takes c if it is next, in upper or lower case if c is a letter in
// upper case.
func (lx *lexer) accept(c byte) bool {
	got := lx.peek()
	if lx.err != nil || upper(got) != c {
		return false
	}
	lx.pos++
	return true
}

// expect takes c, which must be next.
func (lx *lexer) expect(c byte) {
	if !lx.accept(c) {
		lx.fail("Expected %q.", c)
	}
}

// sp takes the space between two arguments. More than one is forgiven.
func (lx *lexer) sp() {
	if !lx.accept(' ') {
		if lx.atEnd() {
			lx.fail("Missing arguments.")
		} else {
			lx.fail("Expected a space.")
		}
		return
	}
	for lx.accept(' ') {
	}
}

// more tells whether another argument follows on this line, and takes the
// space before it.
func (lx *lexer) more() bool {
	if lx.peek() != ' ' {
		return false
	}
	return !lx.atEnd()
}

// atEnd takes spaces and tells whether the line ends here. After an error it
// does not.
func (lx *lexer) atEnd() bool {
	for lx.accept(' ') {
	}
	c := lx.peek()
	return lx.err == nil && (c == '\r' || c == '\n')
}

// end takes the end of the line, CRLF or a bare LF, with spaces before it. It
// returns the first error of the command. A handler that returns without it
// leaves the rest of the command to be skipped.
func (lx *lexer) end() error {
	if lx.err != nil {
		return lx.err
	}
	if !lx.atEnd() {
		lx.fail("Too many arguments.")
		return lx.err
	}
	lx.lineEnd()
	lx.ended = lx.err == nil
	return lx.err
}

// lineEnd takes CRLF or LF.
func (lx *lexer) lineEnd() {
	lx.accept('\r')
	lx.expect('\n')
}

// skip reads over the rest of a command that failed: to the end of the line,
// and on if that ends in a literal whose octets come without being asked for.
func (lx *lexer) skip() error {
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
func (lx *lexer) skipLiteral() (more bool, err error) {
	lit := lx.lit
	lx.lit = literal{}
	if lit.sync && !lit.accepted {
		lx.ended = true
		return false, nil
	}
	if lit.left > lx.limits.skip {
		return false, bye(imap.ResponseCodeTooBig, "Literal is too big.")
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
func (lx *lexer) skipLine() ([]byte, error) {
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
func (lx *lexer) refill() error {
	lx.buf, lx.pos, lx.start = lx.buf[:0], 0, 0
	return lx.fill()
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

// await reads the first octets of the next command when nothing is buffered,
// and holds no buffer until they come.
func (lx *lexer) await(read func(lend func() []byte, giveBack func()) (int, error)) error {
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
