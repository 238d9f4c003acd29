package relay

import (
	"bufio"
	"bytes"
)

// text writes a message in the form that follows DATA: with CRLF line ends, and with an
// additional dot before a dot that begins a line (RFC 5321 section 4.5.2).
//
// A CR that is not part of a line end becomes a space, as in Postfix: a server that takes it
// for a line end could find another message after it (RFC 5321 section 2.3.8).
type text struct {
	w    *bufio.Writer
	line bool // in a line, not at its beginning
}

// write takes a piece of text with LF line ends. It returns the error of w, which is sticky.
func (t *text) write(p []byte) error {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		if !t.line && len(line) > 0 && line[0] == '.' {
			_ = t.w.WriteByte('.')
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			line = bytes.ReplaceAll(line, []byte{'\r'}, []byte{' '})
		}
		t.line = t.line || len(line) > 0
		_, err := t.w.Write(line)
		if ended {
			_, err = t.w.WriteString("\r\n")
			t.line = false
		}
		if err != nil {
			return err
		}
		p = rest
	}
	return nil
}

// end writes the line that ends the message, and flushes.
func (t *text) end() error {
	if t.line {
		_, _ = t.w.WriteString("\r\n")
	}
	_, _ = t.w.WriteString(".\r\n")
	return t.w.Flush()
}
