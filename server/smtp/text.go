package smtp

import "bytes"

// decoder decodes a message from its form in SMTP to text with LF line ends. It keeps its state
// between calls, so the input may arrive in pieces of any size.
//
// A line of the protocol ends in CRLF and in nothing else (RFC 5321 section 2.3.8). With dots,
// a leading dot of such a line is removed (section 4.5.2), and the line ".CRLF" is the end. A
// dot after an LF without CR is text: otherwise one server would see an end where another does
// not (VU#302671). An LF without CR is kept and thus becomes a line end in the result. A CR
// without LF is kept.
type decoder struct {
	dots  bool // input of DATA; false for BDAT
	state textState

	octets int64 // of text so far, counting every line end as CRLF
	line   int   // octets of the current line
	widest int   // octets of the longest line
	bareLF bool  // an LF without CR occurred
	bareCR bool  // a CR without LF occurred
}

// textState is the position within a line.
type textState int

const (
	lineStart textState = iota // after CRLF, or at the beginning
	inLine
	afterCR      // in a line, after a CR that was not written yet
	afterDot     // after a dot at the start of a line
	afterDotCR   // after such a dot and a CR
	textComplete // after the end
)

// decode decodes octets of src to dst until src is used up, dst is full, or the message ends.
// dst must have room for at least two octets.
func (d *decoder) decode(dst, src []byte) (put, taken int) {
	for taken < len(src) && put < len(dst)-1 && d.state != textComplete {
		c := src[taken]
		switch d.state {
		case lineStart:
			if d.dots && c == '.' {
				d.state = afterDot
				taken++
				continue
			}
			d.state = inLine
		case inLine:
			n, m := d.decodeLine(dst[put:], src[taken:])
			put += n
			taken += m
		case afterCR:
			if c == '\n' {
				d.endLine(true)
				dst[put] = '\n'
				put++
				taken++
				continue
			}
			put += d.putCR(dst[put:])
			d.state = inLine
		case afterDot:
			if c == '\r' {
				d.state = afterDotCR
				taken++
				continue
			}
			d.state = inLine
		case afterDotCR:
			if c == '\n' {
				d.state = textComplete
				taken++
				continue
			}
			put += d.putCR(dst[put:])
			d.state = inLine
		}
	}
	return put, taken
}

// decodeLine takes a part of a line, including its end if that is there.
func (d *decoder) decodeLine(dst, src []byte) (put, taken int) {
	if len(src) > len(dst) {
		src = src[:len(dst)]
	}
	i := bytes.IndexByte(src, '\n')
	if i < 0 {
		n := len(src)
		if src[n-1] == '\r' {
			d.state = afterCR
			n--
		}
		d.text(src[:n])
		return copy(dst, src[:n]), len(src)
	}
	text, crlf := bytes.CutSuffix(src[:i], []byte{'\r'})
	d.text(text)
	put = copy(dst, text)
	dst[put] = '\n'
	d.endLine(crlf)
	return put + 1, i + 1
}

// text counts octets of a line that are written to the result.
func (d *decoder) text(p []byte) {
	d.octets += int64(len(p))
	d.line += len(p)
	d.widest = max(d.widest, d.line)
	if !d.bareCR && bytes.IndexByte(p, '\r') >= 0 {
		d.bareCR = true
	}
}

func (d *decoder) putCR(dst []byte) int {
	dst[0] = '\r'
	d.text(dst[:1])
	return 1
}

// endLine counts a line end.
func (d *decoder) endLine(crlf bool) {
	d.octets += 2
	d.line = 0
	if crlf {
		d.state = lineStart
	} else {
		d.bareLF = true
		d.state = inLine
	}
}

// finish writes what is held back at the end of the last BDAT chunk, which is
// at most one octet.
func (d *decoder) finish(dst []byte) (put int) {
	if d.state == afterCR {
		put = d.putCR(dst)
	}
	d.state = textComplete
	return put
}
