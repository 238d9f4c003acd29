package imap

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"
)

// codeCompressionActive is of RFC 4978.
const codeCompressionActive = imap.ResponseCode("COMPRESSIONACTIVE")

// compressExtension is COMPRESS=DEFLATE, announced until it is in use.
func compressExtension() extension {
	return extension{
		commands: []command{{name: "COMPRESS", in: loggedIn, run: runCompress}},
		capsOf: func(s *session) []imap.Cap {
			if s.state() == notAuthenticated || s.wire.compressed() {
				return nil
			}
			return []imap.Cap{imap.Cap("COMPRESS=DEFLATE")}
		},
	}
}

// runCompress is COMPRESS (RFC 4978 section 3).
func runCompress(s *session) error {
	lx := s.lx
	lx.sp()
	algorithm := string(lx.word())
	if err := lx.end(); err != nil {
		return err
	}
	switch {
	case algorithm != "DEFLATE":
		return no("", "Unknown compression algorithm.")
	case s.wire.compressed():
		return no(codeCompressionActive, "DEFLATE is active already.")
	case lx.buffered():
		// It came before the client could know whether to compress it.
		return bad("Nothing may follow COMPRESS before its response.")
	}
	s.done = done{text: "DEFLATE active.", then: func() error {
		if err := s.w.flush(); err != nil {
			return &connError{err}
		}
		log := s.log
		s.wire.stack(newDeflateConn(s.wire.conn, func(p any) { s.srv.panicked(log, p) }))
		return nil
	}}
	return nil
}

// compressed tells whether COMPRESS is in use.
func (c *wire) compressed() bool {
	_, is := c.conn.(*deflateConn)
	return is
}

// deflateConn is a connection whose octets are compressed both ways. Deadlines
// work as usual: a decompressor cannot go on after a read that timed out, so it
// has a goroutine of its own, which waits for the peer without a deadline and
// ends with Close.
//
// What is written is compressed by itself, with the last octets before it as
// the dictionary: no compressor waits in memory for the next response.
type deflateConn struct {
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

// newDeflateConn puts compression on a connection. panicked is told of a panic
// of the decompressor, for which the connection has ended.
func newDeflateConn(conn net.Conn, panicked func(any)) *deflateConn {
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
	return &deflateConn{Conn: conn, plain: plain}
}

func (c *deflateConn) Read(p []byte) (int, error) { return c.plain.Read(p) }

func (c *deflateConn) Write(p []byte) (int, error) {
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
func (c *deflateConn) remember(p []byte) {
	if len(p) >= dictionarySize {
		c.last = append(c.last[:0], p[len(p)-dictionarySize:]...)
		return
	}
	if drop := len(c.last) + len(p) - dictionarySize; drop > 0 {
		c.last = c.last[:copy(c.last, c.last[drop:])]
	}
	c.last = append(c.last, p...)
}

func (c *deflateConn) SetReadDeadline(t time.Time) error { return c.plain.SetReadDeadline(t) }

func (c *deflateConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *deflateConn) Close() error {
	_ = c.plain.Close()
	return c.Conn.Close()
}
