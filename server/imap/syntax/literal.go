package syntax

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"
)

// Literal is a literal whose header was taken and whose octets come next (RFC
// 9051 section 4.3).
type Literal struct {
	Size   int64 // octets
	Binary bool  // ~{n}: the octets may include NUL (RFC 3516)

	left     int64 // not taken yet
	sync     bool  // {n}: the client waits for "+"
	accepted bool  // the client was asked to send it
}

// maxLiteralSize limits sizes so that arithmetic cannot overflow.
const maxLiteralSize = 1 << 62

// LiteralHeader takes the header of a literal, including the end of the line. Its octets come
// next: the caller must take them with ReadLiteral or StreamLiteral, or return an error. ok is
// false if there is no literal here, and after an error.
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

// literalAtEnd returns the literal whose header is at the end of a line.
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

// goOn asks the client to send the literal, if it waits for that.
func (lx *Lexer) goOn() {
	if lx.lit.sync && !lx.lit.accepted {
		lx.Continue()
	}
	lx.lit.accepted = true
}

// ReadLiteral takes the octets of the literal whose header LiteralHeader took. They become
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

// StreamLiteral returns a reader of the octets of the literal whose header LiteralHeader took.
// It can have any size, which the caller must have checked. The first read invalidates
// everything that other methods returned before. The reader returns io.EOF at the end of the
// literal, and another error if the input ends before.
func (lx *Lexer) StreamLiteral() *LiteralReader {
	lx.goOn()
	return &LiteralReader{lx}
}

// LiteralReader reads the octets of a literal. Its WriteTo needs no buffer.
type LiteralReader struct{ lx *Lexer }

func (r *LiteralReader) Read(p []byte) (int, error) {
	b, err := r.some(len(p))
	return copy(p, b), err
}

// WriteTo implements io.WriterTo. If w fails, Skip skips the remaining octets.
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
	// The literal does not count towards the length of the command.
	lx.start = lx.pos
	return b, nil
}
