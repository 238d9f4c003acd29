package message

// FieldSet is a set of header fields, by name and without regard to case. It is safe for
// concurrent use.
type FieldSet struct {
	not   bool
	names []string            // in lower case
	marks uint64              // those of names: they exclude most fields of a header quickly
	many  map[string]struct{} // names, if there are too many to compare with each field
}

// fewNames is the number of names up to which comparing them all is faster than a lookup.
const fewNames = 32

// NewFieldSet returns the set of the fields that have one of the names or, with not, of
// those that have none of them.
func NewFieldSet(names []string, not bool) *FieldSet {
	s := &FieldSet{not: not}
	for _, name := range names {
		if name != "" {
			s.names = append(s.names, lowerASCII(name))
			s.marks |= fieldMark(len(name), name[0])
		}
	}
	if len(s.names) > fewNames {
		s.many = make(map[string]struct{}, len(s.names))
		for _, name := range s.names {
			s.many[name] = struct{}{}
		}
	}
	return s
}

func lowerASCII(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

// fieldMark returns one bit that depends on the length of a name and its first letter.
func fieldMark(n int, first byte) uint64 { return 1 << ((n ^ int(first|0x20)<<1) % 64) }

// has reports whether the set contains the field with a name.
func (s *FieldSet) has(name []byte) bool {
	if len(name) > 0 && s.marks&fieldMark(len(name), name[0]) != 0 {
		if s.many != nil {
			_, found := s.many[lowerASCII(string(name))]
			return found != s.not
		}
		for _, n := range s.names {
			if len(n) == len(name) && equalFold(name, n) {
				return !s.not
			}
		}
	}
	return s.not
}

// Append appends to dst the fields of a header that are in the set, unchanged, and the
// blank line if there is one (RFC 9051 section 6.4.5.1).
func (s *FieldSet) Append(dst, header []byte) []byte {
	from := 0 // start of the wanted fields up to here
	for pos := 0; pos < len(header); {
		rest := header[pos:]
		name, line := fieldName(rest)
		end := pos + line + fieldLen(rest[line:])
		if name == nil && len(trimEnd(header[pos:end])) == 0 {
			return append(dst, header[from:end]...)
		}
		if !s.has(name) {
			dst = append(dst, header[from:pos]...)
			from = end
		}
		pos = end
	}
	dst = append(dst, header[from:]...)
	if from < len(header) && header[len(header)-1] != '\n' {
		dst = append(dst, crlf...)
	}
	return dst
}

// fieldName returns the name of the first field of a header, nil if the line has none, and
// how much of the first line was examined.
func fieldName(header []byte) (name []byte, n int) {
	for n < len(header) && header[n] != ':' && header[n] != '\n' {
		n++
	}
	if n == len(header) || header[n] == '\n' {
		return nil, n
	}
	return trimBlanks(header[:n]), n
}
