package delivery

import (
	"bytes"
	"io"
)

// CRLFWriter passes text on with every CRLF replaced by LF, the form of messages on disk. A
// single CR or LF is passed on unchanged.
type CRLFWriter struct {
	w       io.Writer
	buf     []byte
	pending bool // the last byte was a CR that was not passed on yet
}

// crlfBuffer is how many bytes a CRLFWriter collects before it passes them on.
const crlfBuffer = 32 << 10

// NewCRLFWriter returns a CRLFWriter that writes to w.
func NewCRLFWriter(w io.Writer) *CRLFWriter { return &CRLFWriter{w: w} }

// Write adds a piece of text. Some of it may be held back until Close.
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

// keep buffers text that needs no further change.
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

// Close passes on what was held back, including a CR at the very end. It does not close the
// underlying writer.
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
