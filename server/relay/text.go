package relay

import (
	"bufio"
	"bytes"
)

// text writes a message as it follows DATA: with CRLF line ends, and with a dot before
// each that begins a line (RFC 5321 section 4.5.2).
//
// A CR that is no part of a line end becomes a space, as Postfix has it: a server for
// which it is a line end would see another message behind it (RFC 5321 section 2.3.8).
type text struct {
	w    *bufio.Writer
	line bool // in a line, not at its beginning
}

// write takes a piece of text with LF line ends. The error is w's, and stays.
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

// end writes the line that ends the message, and sends all there is.
func (t *text) end() error {
	if t.line {
		_, _ = t.w.WriteString("\r\n")
	}
	_, _ = t.w.WriteString(".\r\n")
	return t.w.Flush()
}
