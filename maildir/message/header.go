package message

import (
	"bytes"
	"io"
)

// ReadHeader reads the header of a message into buf[:0], with CRLF line ends and including
// the blank line that ends it, if there is one. A header longer than limit octets is
// truncated after the last line that fits, and one that contains a hole before the line with
// the hole. body is where the body starts, in any case. Little more than the header is read.
func ReadHeader(buf []byte, src io.ReaderAt, size int64, limit int) (header []byte, body Pos, err error) {
	cb := convertBuffers.Get().(*convertBuffer)
	defer convertBuffers.Put(cb)
	header = buf[:0]
	line := 0      // number of octets of the line so far, without its end
	onlyCR := true // these octets are a single CR
	full := false
	truncate := func() { full, header = true, header[:bytes.LastIndexByte(header, '\n')+1] }
	before := byte(0)
	next := int64(16 << 10)
	holes := holesOf(src, size)
	for body.Phys < size {
		if n := holes.at(body.Phys); n > 0 {
			body.Phys += n
			body.Virt += n
			truncate()
			line, onlyCR, before = 1, false, 0
			continue
		}
		b := cb.raw[:min(next, size-body.Phys)]
		next = chunk
		n, err := readFull(src, b, body.Phys)
		if err != nil {
			return header, body, err
		}
		if n == 0 {
			return header, body, nil
		}
		for b = b[:n]; len(b) > 0; {
			i := bytes.IndexByte(b, '\n')
			piece := b
			if i >= 0 {
				piece = b[:i+1]
			}
			size := int64(len(piece)) + lineEnds(piece, before)
			body.Phys += int64(len(piece))
			body.Virt += size
			switch {
			case full:
			case len(header)+int(size) > limit:
				truncate()
			default:
				header = appendVirtual(header, piece, before, false)
			}
			before = piece[len(piece)-1]
			b = b[len(piece):]
			if i < 0 {
				onlyCR = onlyCR && line == 0 && string(piece) == "\r"
				line += len(piece)
				continue
			}
			text := piece[:i]
			if line+len(text) == 0 || line == 0 && string(text) == "\r" || line == 1 && onlyCR && len(text) == 0 {
				return header, body, nil
			}
			line, onlyCR = 0, true
		}
	}
	return header, body, nil
}

// Header returns the header of a part with CRLF line ends, at most limit octets of it.
func Header(src io.ReaderAt, p *Part, limit int64) ([]byte, error) {
	var out bytes.Buffer
	_, _, err := CopyVirtual(&out, src, p.Start, p.Body, 0, limit)
	return out.Bytes(), err
}

// eachField calls f with each field of a header until f returns false: the name, and the
// value with its folding but without the final line end. Lines that are not fields are
// skipped.
func eachField(header []byte, f func(name, value []byte) bool) {
	EachEntry(header, func(name, value []byte) bool { return name == nil || f(name, value) })
}

// EachEntry calls f with each field of a header until f returns false, like eachField, and
// also with lines that are not fields: their name is nil, and the value is the line with
// its continuation lines.
func EachEntry(header []byte, f func(name, value []byte) bool) {
	for len(header) > 0 {
		field := header[:fieldLen(header)]
		header = header[len(field):]
		name, value, ok := splitField(field)
		if !ok {
			if name, value = nil, trimEnd(field); len(value) == 0 {
				continue // the blank line
			}
		}
		if !f(name, value) {
			return
		}
	}
}

// EachNamed calls f with each field whose name is one of names, which must be valid (see
// IsFieldName); it skips other fields without examining them. f gets the index of the name.
func EachNamed(header []byte, names []string, f func(i int, value []byte)) {
	for len(header) > 0 {
		first := lower(header[0])
		for i, name := range names {
			if lower(name[0]) != first || len(header) <= len(name) || !equalFold(header[:len(name)], name) {
				continue
			}
			rest := bytes.TrimLeft(header[len(name):], " \t") // obsolete, but it occurs
			if len(rest) == 0 || rest[0] != ':' {
				continue
			}
			field := header[:fieldLen(header)]
			f(i, trimEnd(field[bytes.IndexByte(field, ':')+1:]))
		}
		n := bytes.IndexByte(header, '\n')
		if n < 0 {
			return
		}
		header = header[n+1:]
	}
}

// IsFieldName reports whether a text is a field name according to RFC 5322 section 3.6.8.
func IsFieldName(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || name[i] == ':' {
			return false
		}
	}
	return name != ""
}

// fieldLen returns the length of the first field in header, with its continuation lines and
// line ends.
func fieldLen(header []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(header[i:], '\n')
		if j < 0 {
			return len(header)
		}
		i += j + 1
		if i == len(header) || header[i] != ' ' && header[i] != '\t' {
			return i
		}
	}
}

// splitField splits a field; ok is false for a line without a colon.
func splitField(field []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(field, ':')
	if i <= 0 {
		return nil, nil, false
	}
	if bytes.IndexByte(field[:i], '\n') >= 0 {
		return nil, nil, false
	}
	name = trimBlanks(field[:i])
	return name, trimEnd(field[i+1:]), len(name) > 0
}

// trimBlanks removes white space between a name and its colon: it is obsolete, but it
// occurs.
func trimBlanks(name []byte) []byte {
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	return name
}

func trimEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, newline)
	return bytes.TrimSuffix(b, []byte("\r"))
}

// equalFold compares ASCII texts of equal length, ignoring case.
func equalFold(a []byte, b string) bool {
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// Field returns the value of the first field with a name, unfolded and without white space
// around it.
func Field(header []byte, name string) (value string, ok bool) {
	eachField(header, func(n, v []byte) bool {
		if len(n) != len(name) || !equalFold(n, name) {
			return true
		}
		value, ok = unfold(v), true
		return false
	})
	return value, ok
}

// unfold removes the line ends from a value, and white space around it (RFC 5322 section
// 2.2.3).
func unfold(v []byte) string {
	for len(v) > 0 && isSpace(v[0]) {
		v = v[1:]
	}
	for len(v) > 0 && isSpace(v[len(v)-1]) {
		v = v[:len(v)-1]
	}
	if bytes.IndexByte(v, '\n') < 0 {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for i, c := range v {
		if c == '\n' || c == '\r' && i+1 < len(v) && v[i+1] == '\n' {
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
