package message

import (
	"errors"
	"io"
	"strings"
)

// ErrEncoding means that a part's Content-Transfer-Encoding is unknown.
var ErrEncoding = errors.New("unknown Content-Transfer-Encoding")

// decoded returns a reader of the body of a part without its transfer encoding, starting at
// a place. A body that is not encoded is read with CRLF line ends. Whatever is not valid in
// the encoding is skipped. It returns ErrEncoding if the encoding is unknown.
func decoded(src io.ReaderAt, p *Part, from place) (decoder, error) {
	r := newVirtualReader(src, from.at, p.End)
	switch p.encoding() {
	case "":
		return r, nil
	case "base64":
		r.asIs, r.squeeze = true, true // what is not base64 does not count
		return &base64Reader{in: r, quanta: quanta{bits: from.bits, n: from.n}}, nil
	case "quoted-printable":
		return &qpReader{in: r}, nil
	}
	return nil, ErrEncoding
}

// decoder reads decoded text, and reports where another decoder can continue.
type decoder interface {
	io.Reader
	// rest returns the place after everything that was read; false if there is none because
	// something is held back.
	rest() (place, bool)
}

// encoding returns the transfer encoding of a part in lower case, "" for none.
func (p *Part) encoding() string {
	if p.Multipart() {
		return "" // whatever it says: a multipart must not be encoded itself (RFC 2045 section 6.4)
	}
	switch e := strings.ToLower(p.Encoding); e {
	case "7bit", "8bit", "binary":
		return ""
	default:
		return e
	}
}

// TextReader reads the text of parts, one after another, and reuses its buffers. The zero
// value is ready for use. It must be used by one goroutine at a time.
type TextReader struct {
	in     virtualReader
	base64 base64Reader
	qp     qpReader
}

const textChunk = 32 << 10

// Text returns a reader of the body of a part as UTF-8: without transfer encoding, and
// converted from its charset. An unknown charset is treated as UTF-8. With crlf, a body
// that is not encoded is read with CRLF line ends; without it, with those of the file. A
// hole is represented by a few NULs. The result is valid until the next call.
func (t *TextReader) Text(src io.ReaderAt, p *Part, crlf bool) io.Reader {
	if t.in.raw == nil {
		t.in.raw, t.in.buf = make([]byte, textChunk), make([]byte, 2*textChunk)
	}
	t.in.reset(src, p.Body, p.End)
	t.in.asIs, t.in.squeeze = !crlf, true
	var r io.Reader = &t.in
	switch p.encoding() {
	case "base64":
		t.base64.reset(&t.in)
		r = &t.base64
	case "quoted-printable":
		t.qp.reset(&t.in)
		r = &t.qp
	}
	charset, _ := p.param("charset")
	return charsetReader(charset, r)
}

// decodeText is TextReader.Text for a single part, with CRLF line ends.
func decodeText(src io.ReaderAt, p *Part) io.Reader {
	t := TextReader{in: *newVirtualReader(src, p.Body, p.End)}
	return t.Text(src, p, true)
}

// base64Reader decodes base64 and skips everything that is not base64.
type base64Reader struct {
	quanta
	in  *virtualReader
	raw [4096]byte
	buf [3 * 4096 / 4]byte
	err error
}

func (r *base64Reader) reset(in *virtualReader) {
	r.quanta, r.in, r.err = quanta{}, in, nil
}

func (r *base64Reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.in.Read(r.raw[:])
		r.out = r.buf[:0]
		r.digits(r.raw[:n])
		if err != nil {
			r.flush() // padding may be missing
			r.err = err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *base64Reader) rest() (place, bool) {
	at, ok := r.in.rest()
	at.bits, at.n = r.bits, r.n
	return at, ok && len(r.out) == 0 && r.err == nil
}

// quanta decodes digits of base64 and skips everything else.
type quanta struct {
	bits uint32
	n    int // number of digits in bits
	out  []byte
}

// digits decodes four digits at once if they are adjacent, as they are in all but one of a
// line's quanta.
func (r *quanta) digits(text []byte) {
	for i := 0; i < len(text); i++ {
		for r.n == 0 && i+4 <= len(text) {
			a, b, c, d := base64Values[text[i]], base64Values[text[i+1]], base64Values[text[i+2]], base64Values[text[i+3]]
			if (a|b|c|d)&noDigit != 0 {
				break
			}
			r.out = append(r.out, a<<2|b>>4, b<<4|c>>2, c<<6|d)
			i += 4
		}
		if i < len(text) {
			r.digit(text[i])
		}
	}
}

func (r *quanta) digit(c byte) {
	v := base64Values[c]
	switch {
	case c == '=':
		r.flush()
		return
	case v == noDigit:
		return
	}
	r.bits = r.bits<<6 | uint32(v)
	if r.n++; r.n == 4 {
		r.out = append(r.out, byte(r.bits>>16), byte(r.bits>>8), byte(r.bits))
		r.bits, r.n = 0, 0
	}
}

// noDigit is set in the value of octets that are not base64 digits.
const noDigit = 0x80

// base64Values are the values of the digits. The other alphabet (RFC 4648 section 5) is not
// for mail: its "-" and "_" occur in footers that mailing lists append to the text, and
// "must be ignored" (RFC 2045 section 6.8).
var base64Values = func() (v [256]byte) {
	for c := range v {
		v[c] = noDigit
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		v[c] = byte(i)
	}
	return v
}()

// flush ends a quantum: two digits hold one octet, three hold two.
func (r *quanta) flush() {
	switch r.n {
	case 2:
		r.out = append(r.out, byte(r.bits>>4))
	case 3:
		r.out = append(r.out, byte(r.bits>>10), byte(r.bits>>2))
	}
	r.bits, r.n = 0, 0
}

// qpReader decodes quoted-printable; whatever is not valid is left as it is.
type qpReader struct {
	in    *virtualReader
	raw   [2048]byte
	held  []byte // the start of a possible escape, or white space that may end a line
	out   []byte
	err   error
	space [2048 + maxHeld + 8]byte
}

func (r *qpReader) reset(in *virtualReader) {
	r.in, r.held, r.out, r.err = in, r.held[:0], nil, nil
}

func (r *qpReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.in.Read(r.raw[:])
		r.out = r.space[:0]
		if err != nil {
			r.err = err
			if len(r.held) > 0 && r.held[0] == '=' {
				r.out = append(r.out, r.held...)
				if string(r.held) == "=" {
					r.out = r.out[:0] // a soft line break at the very end
				}
			}
			r.held = nil
			continue
		}
		for b := r.raw[:n]; len(b) > 0; {
			if n := r.plain(b); n > 0 {
				b = b[n:]
				continue
			}
			r.byte(b[0])
			b = b[1:]
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *qpReader) rest() (place, bool) {
	at, ok := r.in.rest()
	return at, ok && len(r.out) == 0 && len(r.held) == 0 && r.err == nil
}

// plain copies the octets at the start of b that represent themselves, if nothing is held,
// and returns how many there are. White space at their end may be the end of a line: it is
// left for byte.
func (r *qpReader) plain(b []byte) int {
	if len(r.held) > 0 {
		return 0
	}
	n := 0
	for n < len(b) && b[n] != '=' && b[n] != '\r' && b[n] != '\n' {
		n++
	}
	for n > 0 && (b[n-1] == ' ' || b[n-1] == '\t') {
		n--
	}
	r.out = append(r.out, b[:n]...)
	return n
}

// maxHeld limits white space that is held back: a longer run is not at the end of a line.
const maxHeld = 998

func (r *qpReader) byte(c byte) {
	if len(r.held) > 0 && r.held[0] == '=' {
		r.escape(c)
		return
	}
	switch {
	case c == ' ' || c == '\t':
		if len(r.held) == maxHeld {
			r.release()
		}
		r.held = append(r.held, c)
		return
	case c == '\r' || c == '\n':
		r.held = r.held[:0] // white space at the end of a line is ignored (RFC 2045 section 6.7)
	case c == '=':
		r.release()
		r.held = append(r.held, '=')
		return
	default:
		r.release()
	}
	r.out = append(r.out, c)
}

func (r *qpReader) release() {
	r.out = append(r.out, r.held...)
	r.held = r.held[:0]
}

// escape continues after a "=".
func (r *qpReader) escape(c byte) {
	held := r.held
	switch {
	case c == '\n': // a soft line break
		r.held = held[:0]
		return
	case c == '\r' || (c == ' ' || c == '\t') && !isHex(held[len(held)-1]):
		if len(held) < maxHeld {
			r.held = append(held, c)
			return
		}
	case isHex(c) && len(held) == 1:
		r.held = append(held, c)
		return
	case isHex(c) && len(held) == 2 && isHex(held[1]):
		r.out = append(r.out, unhex(held[1])<<4|unhex(c))
		r.held = held[:0]
		return
	}
	r.release()
	r.byte(c)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
