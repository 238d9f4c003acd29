package smtp

import "bytes"

// decoder turns the octets of a message as they are sent into text with LF
// line ends. It keeps its place between calls, so the octets may come in
// pieces of any size.
//
// A line of the protocol ends in CRLF and in nothing else (RFC 5321 section
// 2.3.8). With dots, a dot that begins such a line is taken away (section
// 4.5.2), and the line ".CRLF" is the end; a dot after an LF without CR is
// text, or one server would see an end where another does not (VU#302671). An
// LF without CR stays an LF, which is a line end in the result. A CR without
// LF stays as it is.
type decoder struct {
	dots  bool // as DATA sends it; false: as BDAT does
	state textState

	octets int64 // of text so far, with every line end as CRLF
	line   int   // octets of the line that is coming
	widest int   // octets of the longest line
	bareLF bool  // there was an LF without CR
	bareCR bool  // there was a CR without LF
}

// textState is where in a line the decoder is.
type textState int

const (
	lineStart textState = iota // behind a CRLF, or nothing has come yet
	inLine
	afterCR      // in a line, behind a CR that is not in the result yet
	afterDot     // behind a dot that began a line
	afterDotCR   // and a CR
	textComplete // the end has come
)

// decode takes octets from src and puts text into dst until one of them is used
// up or the end has come. dst must hold at least two octets.
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

// decodeLine takes a part of a line, with its end if that is there.
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

// text counts octets of a line that go into the result.
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

// finish puts what is held back at the end of the last BDAT chunk: at most one
// octet.
func (d *decoder) finish(dst []byte) (put int) {
	if d.state == afterCR {
		put = d.putCR(dst)
	}
	d.state = textComplete
	return put
}
