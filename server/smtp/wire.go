package smtp

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"maildird/server/accept"
)

const (
	smallBuffer = 4 << 10  // between messages
	largeBuffer = 32 << 10 // while receiving a message that fills the small one
	outBuffer   = 4 << 10  // octets of replies that are collected before they are sent
	// mostLarge is how many connections at a time may keep a large buffer. Clients that stop in
	// the middle of a message must not use up the memory.
	mostLarge = 1024
	// skipLimit is how many octets of an overlong line are skipped.
	skipLimit = 1 << 20
)

// largeBuffers are shared by the connections that are receiving messages. They hold input, and
// decoded text on its way to the file.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// largeKept is the number of large buffers that connections keep.
var largeKept atomic.Int64

// wire is the byte stream of a connection: input in a buffer that the protocol parses in place,
// and replies that are collected until the connection waits for input.
type wire struct {
	socket net.Conn // the accepted connection
	conn   net.Conn // the same, or TLS on it

	in    []byte // buffer; in[r:w] is unread
	r, w  int
	big   *[]byte // in, if it is from largeBuffers; else nil
	small []byte  // the buffer that in replaced
	full  bool    // the last read filled the buffer

	silent bool // something was read, and nothing was sent since

	out    []byte
	failed error // error of a flush
}

var (
	errLongLine = errors.New("line too long")
	errEndless  = errors.New("line without end")
)

// unread returns the input that was received but not used yet.
func (x *wire) unread() []byte { return x.in[x.r:x.w] }

// use consumes n octets of unread.
func (x *wire) use(n int) { x.r += n }

// more sends the collected replies, then waits for input. The caller must have set the
// deadline. size is the maximum size of the unread input; it must exceed the current one.
func (x *wire) more(size int) error {
	if err := x.flush(); err != nil {
		return err
	}
	x.room(size)
	if x.silent && !x.full {
		accept.Acknowledge(x.socket)
	}
	n, err := x.conn.Read(x.in[x.w:])
	x.silent = n > 0
	x.w += n
	x.full = x.w == len(x.in)
	if n > 0 {
		return nil
	}
	return err
}

// room makes room after the unread input.
func (x *wire) room(size int) {
	switch {
	case x.full && size >= largeBuffer && x.big == nil && largeKept.Load() < mostLarge:
		x.swap(largeBuffers.Get().(*[]byte))
	case x.r == x.w:
		x.r, x.w = 0, 0
	case x.r > 0 && x.w == len(x.in):
		x.w = copy(x.in, x.in[x.r:x.w])
		x.r = 0
	}
	if x.w == len(x.in) {
		bigger := make([]byte, min(max(2*len(x.in), smallBuffer), size))
		x.w = copy(bigger, x.in[x.r:x.w])
		x.r, x.in = 0, bigger
	}
}

// swap moves the unread input to a large buffer or, with nil, to a small one.
func (x *wire) swap(large *[]byte) {
	var buf []byte
	switch {
	case large != nil:
		buf, x.small = *large, x.in
		largeKept.Add(1)
	case len(x.small) >= x.w-x.r:
		buf, x.small = x.small, nil
	default:
		buf, x.small = make([]byte, x.w-x.r), nil
	}
	n := copy(buf, x.in[x.r:x.w])
	if x.big != nil {
		largeBuffers.Put(x.big)
		largeKept.Add(-1)
	}
	x.in, x.big, x.r, x.w = buf, large, 0, n
}

// shrink releases a large buffer after a message.
func (x *wire) shrink() {
	if x.big != nil {
		x.swap(nil)
	}
}

// line takes the next line, including its line end. limit returns the maximum length in octets
// for a line that begins with its argument. A longer line is skipped, and the error is
// errLongLine. The line is valid until the next call of a method.
func (x *wire) line(limit func([]byte) int) ([]byte, error) {
	for seen := 0; ; {
		have := x.unread()
		if i := bytes.IndexByte(have[seen:], '\n'); i >= 0 {
			line := have[:seen+i+1]
			x.use(len(line))
			if len(line) > limit(line) {
				return nil, errLongLine
			}
			return line, nil
		}
		seen = len(have)
		max := limit(have)
		if seen > max {
			return nil, x.skipLine()
		}
		if err := x.more(max + 1); err != nil {
			return nil, err
		}
	}
}

// skipLine skips the rest of a line.
func (x *wire) skipLine() error {
	for skipped := 0; skipped < skipLimit; {
		have := x.unread()
		if i := bytes.IndexByte(have, '\n'); i >= 0 {
			x.use(i + 1)
			return errLongLine
		}
		skipped += len(have)
		x.use(len(have))
		if err := x.more(smallBuffer); err != nil {
			return err
		}
	}
	return errEndless
}

// write takes the collected replies, with what was appended to them, and sends them
// if there are many.
func (x *wire) write(replies []byte) {
	x.out = replies
	if len(x.out) >= outBuffer {
		_ = x.flush() // the next flush returns the error
	}
}

// flush sends the collected replies. After an error nothing more is sent.
func (x *wire) flush() error {
	if len(x.out) == 0 || x.failed != nil {
		x.out = x.out[:0]
		return x.failed
	}
	x.silent = false
	x.failed = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if x.failed == nil {
		_, x.failed = x.conn.Write(x.out)
	}
	x.out = x.out[:0]
	return x.failed
}
