// Package filename reads and writes the names of message files in a Maildir:
// the base that identifies a message, and the info part that holds its flags.
//
// Source of the rules: http://cr.yp.to/proto/maildir.html for ":2," and its
// flags, Courier's Maildir++ for "S=", Dovecot (maildir-filename*.c) for "W=",
// the keyword letters a-z, and how a name that other programs extended is read.
package filename

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Flags is the set of flags a file name can hold: six system flags and 26
// keyword letters, exactly 32 bits.
type Flags uint32

// The flags with a capital letter. Passed is the "P" of the Maildir
// specification (forwarded, resent or bounced).
const (
	Draft    Flags = 1 << iota // D
	Flagged                    // F
	Passed                     // P
	Answered                   // R
	Seen                       // S
	Deleted                    // T
	firstKeyword

	// Keywords is the set of all 26 keyword letters.
	Keywords = ^Flags(0) &^ (firstKeyword - 1)
)

// MaxKeywords is how many keywords a folder's letters can stand for.
const MaxKeywords = 26

const systemLetters = "DFPRST" // in ASCII order, and in the order of the bits

// Keyword returns the flag of keyword letter 'a'+index, index 0 to 25.
func Keyword(index int) Flags { return firstKeyword << index }

// EachKeyword calls f with the index of each keyword in the set, ascending.
func (f Flags) EachKeyword(fn func(index int)) {
	for k := uint32(f / firstKeyword); k != 0; k &= k - 1 {
		fn(bits.TrailingZeros32(k))
	}
}

// Base returns the part of name that identifies the message: what precedes the first ':'.
func Base(name string) string {
	if i := strings.IndexByte(name, ':'); i >= 0 {
		return name[:i]
	}
	return name
}

// info returns where the flag letters start and end in name; ok is false if name has none.
// They follow the last ':' and "2,", up to another comma.
func info(name string) (start, end int, ok bool) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || !strings.HasPrefix(name[i+1:], "2,") {
		return 0, 0, false
	}
	start = i + len(":2,")
	end = len(name)
	if j := strings.IndexByte(name[start:], ','); j >= 0 {
		end = start + j
	}
	return start, end, true
}

// FlagsOf returns the flags in a file name; a name without ":2," has none. Unknown letters
// are skipped.
func FlagsOf(name string) Flags {
	start, end, ok := info(name)
	if !ok {
		return 0
	}
	var f Flags
	for i := start; i < end; i++ {
		f |= letterFlag(name[i])
	}
	return f
}

func letterFlag(c byte) Flags {
	if c >= 'a' && c <= 'z' {
		return Keyword(int(c - 'a'))
	}
	if i := strings.IndexByte(systemLetters, c); i >= 0 {
		return 1 << i
	}
	return 0
}

// Regular reports whether name is exactly what WithFlags(Base(name), flags) returns, so
// that it need not be stored in addition to base and flags.
func Regular(name string) bool {
	i := strings.IndexByte(name, ':')
	if i < 0 || !strings.HasPrefix(name[i+1:], "2,") {
		return false
	}
	last := byte(0)
	for _, c := range []byte(name[i+len(":2,"):]) {
		if c <= last || letterFlag(c) == 0 {
			return false
		}
		last = c
	}
	return true
}

// WithFlags returns name with its flags replaced by f. Unknown letters are kept, and all
// letters are written in ASCII order, as Maildir requires: notmuch ignores flags in any
// other order. Further comma-separated fields of the name are kept. A name without ":2,"
// gets it, in place of a different info part such as ":1,".
func WithFlags(name string, f Flags) string {
	var room [256]byte
	start, end, ok := info(name)
	if !ok {
		return string(AppendInfo(append(room[:0], Base(name)...), f))
	}
	b := appendLetters(append(room[:0], name[:start]...), f)
	known := len(b)
	for i := start; i < end; i++ {
		if letterFlag(name[i]) == 0 && bytes.IndexByte(b[known:], name[i]) < 0 {
			b = append(b, name[i])
		}
	}
	if len(b) > known {
		slices.Sort(b[start:])
	}
	return string(append(b, name[end:]...))
}

// AppendInfo appends to a base, which has no ':', the info part of a file name with the
// flags f.
func AppendInfo(base []byte, f Flags) []byte {
	return appendLetters(append(base, ":2,"...), f)
}

func appendLetters(b []byte, f Flags) []byte {
	for i := range systemLetters {
		if f&(1<<i) != 0 {
			b = append(b, systemLetters[i])
		}
	}
	f.EachKeyword(func(i int) { b = append(b, 'a'+byte(i)) })
	return b
}

// Sizes returns "S=" (bytes of the file) and "W=" (octets with every line end as CRLF) from
// the fields of a base. For a field that is missing or malformed it returns -1, and the
// caller has to measure. If a field is repeated, the first one counts, as in Dovecot.
func Sizes(base string) (size, virtual int64) {
	size, virtual = -1, -1
	hasSize, hasVirtual := false, false
	for i := 0; i < len(base); {
		j := strings.IndexByte(base[i:], ',')
		if j < 0 {
			break
		}
		field := base[i+j+1:]
		i += j + 1
		if len(field) < 3 || field[1] != '=' {
			continue
		}
		switch {
		case field[0] == 'S' && !hasSize:
			size, hasSize = fieldNumber(field[2:]), true
		case field[0] == 'W' && !hasVirtual:
			virtual, hasVirtual = fieldNumber(field[2:]), true
		}
	}
	return size, virtual
}

func fieldNumber(s string) int64 {
	if i := strings.IndexByte(s, ','); i >= 0 {
		s = s[:i]
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// HasField reports whether a base has the field letter, as in ",U=12" (mbsync's UID).
func HasField(base string, letter byte) bool {
	return strings.Contains(base, ","+string(letter)+"=")
}

// Ignored reports whether the name of a directory entry shows that it is not a message:
// names that start with '.', and names with a line break, which could not be stored in the
// uidlist. A name that starts with ':' has no base; it is not ignored, but replaced by a
// new one when it is found.
func Ignored(name string) bool {
	if name == "" || name[0] == '.' {
		return true
	}
	for _, c := range []byte("\r\n\x00/") {
		if strings.IndexByte(name, c) >= 0 {
			return true
		}
	}
	return false
}

// Compare orders two names in the order in which UIDs are assigned to new messages, like
// Dovecot (maildir_filename_sort_cmp): by the leading decimal seconds, which are 0 for a
// name without digits; if both have microseconds ("M" and digits anywhere in the second
// dotted field), by those; then by the rest of the name up to ':', octets above 127 first.
// A ':' counts as a character where only one of the names ends. Names with the same base
// are ordered as text. Three names may have no consistent order: see SortBy.
//
// Dovecot computes differences of seconds modulo 2^32, so that times more than 68 years
// apart may come in any order. Here they are in chronological order.
func Compare(a, b string) int {
	as, ar := leadingNumber(a)
	bs, br := leadingNumber(b)
	if c := cmp.Compare(int64(as), int64(bs)); c != 0 {
		return c
	}
	au, aok := microseconds(ar)
	bu, bok := microseconds(br)
	if aok && bok && au != bu {
		return cmp.Compare(au, bu)
	}
	if c := compareBases(ar, br); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func leadingNumber(s string) (n uint64, rest string) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + uint64(s[i]-'0')
	}
	return n, s[i:]
}

// microseconds parses the microseconds in a name whose seconds were cut off. A number that
// does not fit wraps around, as in Dovecot.
func microseconds(s string) (n int32, ok bool) {
	if !strings.HasPrefix(s, ".") {
		return 0, false
	}
	i := 1
	for ; i < len(s) && s[i] != 'M'; i++ {
		if s[i] == '.' || s[i] == ':' {
			return 0, false
		}
	}
	if i == len(s) {
		return 0, false
	}
	for i++; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + int32(s[i]-'0')
	}
	return n, true
}

func compareBases(a, b string) int {
	at := func(s string, i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	for i := 0; ; i++ {
		x, y := at(a, i), at(b, i)
		xEnds, yEnds := x == 0 || x == ':', y == 0 || y == ':'
		if xEnds && yEnds {
			return 0
		}
		if x != y {
			return cmp.Compare(int8(x), int8(y))
		}
	}
}
