// Package deflate is the stream that COMPRESS=DEFLATE (RFC 4978) puts on a
// connection: what is written is compressed, what is read decompressed, and
// neither side ever waits for octets that the other keeps back.
package deflate

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
)

// Conn is a connection whose octets are compressed both ways. Deadlines work as
// usual: a decompressor cannot go on after a read that timed out, so it has a
// goroutine of its own, which waits for the peer without a deadline and ends with
// Close. What is no DEFLATE stream ends what can be read, with io.EOF.
//
// What is written is compressed by itself, with the last octets before it as
// the dictionary: no compressor waits in memory for the next response. Read and
// Write are each for one goroutine; Close and the deadlines may come from others.
type Conn struct {
	net.Conn
	plain net.Conn // the end of a pipe that the decompressed octets come from
	last  []byte   // what was written last
}

const (
	// dictionarySize is the most that a stateless compressor looks back.
	dictionarySize = 8 << 10
	inflateBuffer  = 4 << 10
)

// deflated are buffers for what is about to be written.
var deflated = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// NewConn puts compression on a connection, which is the Conn's from then on.
// panicked is told of a panic of the decompressor, by which what can be read has
// ended. It is called in the decompressor's goroutine.
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

// remember keeps the end of what was written.
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

// CloseWrite ends what is sent, if what is below can do that.
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
