// Package deflate implements the stream of COMPRESS=DEFLATE (RFC 4978) on a connection:
// output is compressed, input decompressed, and neither side ever waits for octets that the
// other is holding back.
package deflate

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
)

// Conn is a connection that compresses its output and decompresses its input. Deadlines work as
// usual. Since a decompressor cannot continue after a read that timed out, it runs in its own
// goroutine, which waits for the peer without a deadline and ends with Close. If the input is
// not a DEFLATE stream, Read returns io.EOF.
//
// Each Write is compressed separately, with the end of the preceding output as the dictionary,
// so that no compressor occupies memory between responses. Read and Write may each be used by
// one goroutine at a time; Close and the deadlines by others as well.
type Conn struct {
	net.Conn
	plain net.Conn // the end of a pipe that delivers the decompressed input
	last  []byte   // the end of the output so far, the next dictionary
}

const (
	// dictionarySize is how far a stateless compressor looks back, in octets.
	dictionarySize = 8 << 10
	inflateBuffer  = 4 << 10
)

// deflated are buffers for compressed output.
var deflated = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// NewConn returns a Conn on top of conn, which then belongs to it. If the decompressor panics,
// the input ends, and panicked is called in the goroutine of the decompressor.
func NewConn(conn net.Conn, panicked func(any)) *Conn {
	plain, feed := net.Pipe()
	go func() {
		defer feed.Close()
		defer func() {
			if p := recover(); p != nil {
				panicked(p)
			}
		}()
		_ = conn.SetReadDeadline(time.Time{})
		_ = inflate(feed, conn)
	}()
	return &Conn{Conn: conn, plain: plain}
}

func (c *Conn) Read(p []byte) (int, error) { return c.plain.Read(p) }

func (c *Conn) Write(p []byte) (int, error) {
	buf := deflated.Get().(*bytes.Buffer)
	defer deflated.Put(buf)
	buf.Reset()
	if err := flate.StatelessDeflate(buf, p, false, c.last); err != nil {
		return 0, err
	}
	c.remember(p)
	if _, err := c.Conn.Write(buf.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// remember keeps the end of the output.
func (c *Conn) remember(p []byte) {
	if len(p) >= dictionarySize {
		c.last = append(c.last[:0], p[len(p)-dictionarySize:]...)
		return
	}
	if drop := len(c.last) + len(p) - dictionarySize; drop > 0 {
		c.last = c.last[:copy(c.last, c.last[drop:])]
	}
	c.last = append(c.last, p...)
}

func (c *Conn) SetReadDeadline(t time.Time) error { return c.plain.SetReadDeadline(t) }

func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// CloseWrite closes the writing side, if the underlying connection can do that.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *Conn) Close() error {
	_ = c.plain.Close()
	return c.Conn.Close()
}
