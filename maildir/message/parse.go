package message

import (
	"bytes"
	"io"
	"strings"
)

// limits limit what Parse spends on a message. Whatever exceeds them is served as the body
// of the part that contains it.
type limits struct {
	depth       int // nesting of parts
	parts       int // in the whole message
	headerBytes int // MIME fields of one part
	fieldBytes  int // MIME fields of all parts
}

// Parse finds the parts of the message in the first size bytes of src. Any bytes are a
// message; errors are those of reading. Memory use grows not with the message but with the
// number of parts, up to the limits.
//
// Malformed mail is interpreted like in Dovecot: a boundary line only needs to start with
// the boundary (RFC 2046 section 5.1.1), and of several that match, the innermost one that
// makes up the whole line is used, or else the longest; an outer boundary ends inner parts;
// if the closing boundary is missing, the part extends to the end of the message.
//
// Parts inside 100 others, or after 10,000 others, are not distinguished. Beyond 2 MiB of MIME
// fields in a message, further ones are ignored: each session that is served from the message
// holds them several times.
func Parse(src io.ReaderAt, size int64) (*Part, error) {
	return parseWithin(src, size, limits{depth: 100, parts: 10_000, headerBytes: 64 << 10, fieldBytes: 2 << 20})
}

func parseWithin(src io.ReaderAt, size int64, lim limits) (*Part, error) {
	room := convertBuffers.Get().(*convertBuffer)
	defer convertBuffers.Put(room)
	p := &parser{src: src, size: size, lim: lim, bol: true, buf: room.raw[:chunk], holes: holesOf(src, size)}
	root := &Part{}
	_, err := p.part(root, "text", "plain", 0, p.pos)
	return root, err
}

// mark is a place in the message, and the number of line ends before it.
type mark struct {
	Pos
	lines int64
}

// parser reads a message line by line.
type parser struct {
	src  io.ReaderAt
	size int64
	lim  limits

	buf   []byte
	rest  []byte // of buf, not examined yet
	off   int64  // in the file, of what is read into buf next
	holes holes

	pos    mark // of the next piece
	eol    mark // before the line end of the last line
	prev   mark // before the line end of the second to last line
	bol    bool // the next piece starts a line
	before byte // the previous byte

	boundaries []string // of the multiparts that are open, innermost last
	parts      int
	fields     int // number of bytes of MIME fields that were kept
}

// next returns the next line with its end, or a piece of a long one; nil at the end of the
// message. first reports whether the piece starts a line.
func (p *parser) next() (piece []byte, first bool, err error) {
	i := bytes.IndexByte(p.rest, '\n')
	if i < 0 && len(p.rest) < len(p.buf) && p.off < p.size {
		if err := p.fill(); err != nil {
			return nil, false, err
		}
		i = bytes.IndexByte(p.rest, '\n')
	}
	if len(p.rest) == 0 {
		piece, first = p.hole()
		return piece, first, nil
	}
	piece = p.rest
	if i >= 0 {
		piece = p.rest[:i+1]
	}
	p.rest = p.rest[len(piece):]
	first = p.bol
	p.bol = i >= 0
	p.pos.Phys += int64(len(piece))
	p.pos.Virt += int64(len(piece))
	if i >= 0 {
		p.prev, p.eol = p.eol, p.pos
		p.eol.Phys--
		p.eol.Virt--
		if i > 0 && piece[i-1] == '\r' || i == 0 && p.before == '\r' {
			p.eol.Phys--
			p.eol.Virt--
		} else {
			p.pos.Virt++
		}
		p.pos.lines++
	}
	p.before = piece[len(piece)-1]
	return piece, first, nil
}

// fill moves the rest to the front of the buffer and reads more.
func (p *parser) fill() error {
	n := copy(p.buf, p.rest)
	want := min(int64(len(p.buf)-n), p.size-p.off)
	if p.holes.at(p.off) > 0 {
		want = 0
	}
	got, err := readFull(p.src, p.buf[n:n+int(want)], p.off)
	if err != nil {
		return err
	}
	if got == 0 && want > 0 {
		p.size = p.off // the file was truncated
	}
	p.off += int64(got)
	p.rest = p.buf[:n+got]
	return nil
}

// hole skips a hole and returns a few octets that represent it; nil if there is none.
func (p *parser) hole() (piece []byte, first bool) {
	n := p.holes.at(p.off)
	if n == 0 || p.off >= p.size {
		return nil, false
	}
	first = p.bol
	p.off += n
	p.pos.Phys += n
	p.pos.Virt += n
	p.bol, p.before = false, 0
	return nuls[:], first
}

// none means that a part ended with the message and not at a boundary.
const none = -1

// ending is how a part ended: at a line of which boundary, whether that was the closing
// one, and where: before the line end that precedes the boundary line, and belongs to the
// boundary.
type ending struct {
	level   int // index in boundaries, or none
	closing bool
	at      mark
}

// boundary reports whether a line that was just read is one of an open boundary. least is
// the earliest possible end of the part that it ends.
func (p *parser) boundary(line []byte, least mark) (e ending, ok bool) {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' || len(p.boundaries) == 0 {
		return e, false
	}
	rest, best := line[2:], none
	for i := len(p.boundaries) - 1; i >= 0; i-- {
		b := p.boundaries[i]
		if best != none && len(b) <= len(p.boundaries[best]) || len(rest) < len(b) || string(rest[:len(b)]) != b {
			continue
		}
		best = i
		if end := bytes.TrimRight(rest[len(b):], " \t\r\n"); len(end) == 0 || string(end) == "--" {
			break
		}
	}
	if best == none {
		return e, false
	}
	e.level = best
	e.closing = bytes.HasPrefix(rest[len(p.boundaries[best]):], []byte("--"))
	e.at = p.prev
	if !p.bol {
		e.at = p.eol // the boundary line itself has no line end
	}
	if e.at.Phys < least.Phys {
		e.at = least // the preceding line end belongs to the previous boundary line
	}
	return e, true
}

// part parses one part, starting with its header. typ and subtype are its defaults; least
// is where it ends if it is empty.
//
// The line end before a boundary belongs to the boundary, even if it is the blank line that
// ends the header: then there is neither blank line nor body (RFC 2046 section 5.1.1,
// body-part).
func (p *parser) part(part *Part, typ, subtype string, depth int, least mark) (ending, error) {
	p.parts++
	part.Start = p.pos.Pos
	part.Type, part.Subtype = typ, subtype
	e, ended, err := p.header(part, least)
	body := p.pos
	least = p.eol // before the blank line
	b, hasBoundary := part.param("boundary")
	b = strings.TrimRight(b, " \t")
	deep := depth >= p.lim.depth || p.parts >= p.lim.parts
	if deep && (part.Message() || part.Multipart()) {
		part.Type, part.Subtype = "application", "octet-stream" // so that its octets can be fetched
	}
	switch {
	case err != nil || ended:
	case part.Message():
		child := &Part{}
		part.Children = []*Part{child}
		e, err = p.part(child, "text", "plain", depth+1, least)
	case part.Multipart() && hasBoundary && b != "":
		e, err = p.multipart(part, b, least, depth)
	default:
		e, err = p.leaf(least)
	}
	if ended || e.at.Phys < body.Phys {
		body = e.at
	}
	part.Body, part.End = body.Pos, e.at.Pos
	part.Start.Phys = min(part.Start.Phys, part.Body.Phys)
	part.Start.Virt = min(part.Start.Virt, part.Body.Virt)
	part.Lines = e.at.lines - body.lines
	return e, err
}

// header parses a part's header. ended reports whether the part ended with it, at a
// boundary or with the message.
func (p *parser) header(part *Part, least mark) (e ending, ended bool, err error) {
	var fields []byte // those that describe the part
	keep := false
	defer func() { part.describe(fields) }()
	for {
		line, first, err := p.next()
		if err != nil {
			return e, false, err
		}
		if line == nil {
			return ending{level: none, at: p.pos}, true, nil
		}
		if first {
			if e, ok := p.boundary(line, least); ok {
				return e, true, nil
			}
			if string(line) == "\n" || string(line) == "\r\n" {
				return e, false, nil
			}
			if line[0] != ' ' && line[0] != '\t' {
				keep = len(line) > 8 && equalFold(line[:8], "content-")
			}
		}
		if keep && len(fields)+len(line) <= p.lim.headerBytes && p.fields+len(line) <= p.lim.fieldBytes {
			fields = append(fields, line...)
			p.fields += len(line)
		}
	}
}

// leaf reads the body of a part without subparts, which ends at least or later.
func (p *parser) leaf(least mark) (ending, error) {
	for {
		p.skip()
		line, first, err := p.next()
		if err != nil {
			return ending{}, err
		}
		if line == nil {
			return ending{level: none, at: p.pos}, nil
		}
		if first {
			if e, ok := p.boundary(line, least); ok {
				return e, nil
			}
		}
	}
}

// skip skips lines that cannot be boundaries, except for the last two, whose ends next
// records.
func (p *parser) skip() {
	if !p.bol {
		return
	}
	b := p.rest
	if len(p.boundaries) > 0 {
		if bytes.HasPrefix(b, dashes[1:]) {
			return
		}
		if i := bytes.Index(b, dashes); i >= 0 {
			b = b[:i+1]
		}
	}
	for range 3 { // what is after the last line end, and two lines
		b = b[:max(0, bytes.LastIndexByte(b, '\n'))]
	}
	if len(b) == 0 {
		return
	}
	b = p.rest[:len(b)+1]
	p.rest = p.rest[len(b):]
	p.pos.Phys += int64(len(b))
	p.pos.Virt += int64(len(b)) + lineEnds(b, p.before)
	p.pos.lines += int64(bytes.Count(b, newline))
	p.before = '\n'
}

var dashes = []byte("\n--")

// cutOff reports whether the message ends in a line that has no line end. If that is a
// boundary line, no part begins after it (RFC 2046 section 5.1.1, encapsulation).
func (p *parser) cutOff() bool { return !p.bol && len(p.rest) == 0 && p.off >= p.size }

// multipart parses the body of a part that is divided by a boundary: what is before the
// first boundary line and after the closing one belongs to no part.
func (p *parser) multipart(part *Part, boundary string, least mark, depth int) (ending, error) {
	mine := len(p.boundaries)
	p.boundaries = append(p.boundaries, boundary)
	typ, subtype := "text", "plain"
	if strings.EqualFold(part.Subtype, "digest") {
		typ, subtype = "message", "rfc822" // RFC 2046 section 5.1.5
	}
	e, err := p.leaf(least)
	for err == nil && e.level == mine && !e.closing && !p.cutOff() && p.parts < p.lim.parts {
		child := &Part{}
		part.Children = append(part.Children, child)
		e, err = p.part(child, typ, subtype, depth+1, p.pos)
	}
	p.boundaries = p.boundaries[:mine]
	if err == nil && e.level == mine {
		e, err = p.leaf(least)
	}
	return e, err
}
