package delivery

import (
	"bytes"
	"io"
)

// CRLFWriter passes text on with every CRLF as LF, as messages stand on disk.
// A CR or LF by itself stays as it is.
type CRLFWriter struct {
	w       io.Writer
	buf     []byte
	pending bool // the last byte was a CR that is not passed on yet
}

// crlfBuffer is how many bytes a CRLFWriter gathers before it passes them on.
const crlfBuffer = 32 << 10

// NewCRLFWriter returns a CRLFWriter that passes text on to w.
func NewCRLFWriter(w io.Writer) *CRLFWriter { return &CRLFWriter{w: w} }

// Write takes a piece of text. It may keep some of it until Close.
func (c *CRLFWriter) Write(p []byte) (int, error) {
	total := len(p)
	if total == 0 {
		return 0, nil
	}
	if c.pending {
		c.pending = false
		if p[0] != '\n' {
			if err := c.keep(cr); err != nil {
				return 0, err
			}
		}
	}
	if p[len(p)-1] == '\r' {
		c.pending = true
		p = p[:len(p)-1]
	}
	for len(p) > 0 {
		i := bytes.Index(p, crlf)
		if i < 0 {
			i = len(p)
		}
		if err := c.keep(p[:i]); err != nil {
			return 0, err
		}
		if i == len(p) {
			break
		}
		p = p[i+1:]
	}
	return total, nil
}

// keep gathers text that needs no more change.
func (c *CRLFWriter) keep(p []byte) error {
	if len(c.buf)+len(p) > crlfBuffer {
		if err := c.flush(); err != nil {
			return err
		}
		if len(p) >= crlfBuffer {
			_, err := c.w.Write(p)
			return err
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, 0, crlfBuffer)
	}
	c.buf = append(c.buf, p...)
	return nil
}

func (c *CRLFWriter) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// Close passes on what was kept, a CR at the very end included. The writer
// below stays open.
func (c *CRLFWriter) Close() error {
	if c.pending {
		c.pending = false
		if err := c.keep(cr); err != nil {
			return err
		}
	}
	return c.flush()
}

var cr = []byte("\r")
