package syntax

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"
)

// Literal is a literal that was announced and whose octets come next (RFC 9051
// section 4.3).
type Literal struct {
	Size   int64 // octets
	Binary bool  // ~{n}: NUL may be among them (RFC 3516)

	left     int64 // not taken yet
	sync     bool  // {n}: the client waits for "+"
	accepted bool  // the client was told to go on
}

// maxLiteralSize keeps sizes in a range that can be counted with.
const maxLiteralSize = 1 << 62

// LiteralHeader takes what announces a literal, with the end of the line. What
// comes next are its octets: take them with ReadLiteral or StreamLiteral, or
// return with an error. ok is false if there is no literal here, or after an
// error.
func (lx *Lexer) LiteralHeader() (lit Literal, ok bool) {
	switch lx.Peek() {
	case '~':
		lx.pos++
		lit.Binary = true
	case '{':
	default:
		return lit, false
	}
	lx.Expect('{')
	lit.Size = int64(min(lx.Number64(), maxLiteralSize))
	lit.sync = !lx.Accept('+')
	lx.Expect('}')
	lx.lineEnd()
	if lx.err != nil {
		return Literal{}, false
	}
	lit.left = lit.Size
	lx.lit = lit
	return lit, true
}

// literalAtEnd finds the literal that the end of a line announces.
func literalAtEnd(line []byte) (lit Literal, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	i := bytes.LastIndexByte(line, '{')
	if i < 0 || line[len(line)-1] != '}' {
		return lit, false
	}
	digits := line[i+1 : len(line)-1]
	digits, plus := bytes.CutSuffix(digits, []byte("+"))
	if len(digits) == 0 {
		return lit, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return lit, false
		}
		lit.Size = min(lit.Size*10+int64(c-'0'), maxLiteralSize/10-1)
	}
	lit.left, lit.sync = lit.Size, !plus
	return lit, true
}

// goOn tells the client to send the literal if it waits for that.
func (lx *Lexer) goOn() {
	if lx.lit.sync && !lx.lit.accepted {
		lx.Continue()
	}
	lx.lit.accepted = true
}

// ReadLiteral takes the octets of the literal that LiteralHeader announced, as
// part of the command.
func (lx *Lexer) ReadLiteral() []byte {
	if lx.err != nil {
		return nil
	}
	size := lx.lit.Size
	if size > lx.Limits.Literal || size > int64(lx.Limits.Line-(lx.pos-lx.start)) {
		lx.FailWith(&imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeTooBig, Text: "Literal is too big."})
		return nil
	}
	lx.goOn()
	if !lx.ensure(int(size)) {
		return nil
	}
	lx.lit = Literal{}
	octets := lx.buf[lx.pos : lx.pos+int(size) : lx.pos+int(size)]
	lx.pos += int(size)
	return octets
}

// StreamLiteral returns a reader of the octets of the literal that
// LiteralHeader announced, of any size; the caller has checked that. What
// other methods returned before is void as soon as it is read from. Reading
// to the end gives io.EOF; an earlier end is another error.
func (lx *Lexer) StreamLiteral() *LiteralReader {
	lx.goOn()
	return &LiteralReader{lx}
}

// LiteralReader reads the octets of a literal. It is an io.WriterTo, which
// needs no buffer of its own.
type LiteralReader struct{ lx *Lexer }

func (r *LiteralReader) Read(p []byte) (int, error) {
	b, err := r.some(len(p))
	return copy(p, b), err
}

// WriteTo implements io.WriterTo. An error of w leaves octets that the
// dispatcher skips.
func (r *LiteralReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		b, err := r.some(readBufferSize)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(b)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// some takes at most limit octets of the literal.
func (r *LiteralReader) some(limit int) ([]byte, error) {
	lx := r.lx
	if lx.err != nil {
		return nil, lx.err
	}
	if lx.lit.left == 0 {
		return nil, io.EOF
	}
	if !lx.Buffered() {
		if lx.err = lx.refill(); lx.err != nil {
			return nil, lx.err
		}
	}
	n := int(min(lx.lit.left, int64(len(lx.buf)-lx.pos), int64(limit)))
	b := lx.buf[lx.pos : lx.pos+n]
	lx.pos += n
	lx.lit.left -= int64(n)
	// A literal does not count as part of the command's line.
	lx.start = lx.pos
	return b, nil
}
