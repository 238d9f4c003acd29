// Package pattern matches mailbox names with the wildcards of LIST and LSUB. No pattern
// can make it slow.
package pattern

import "strings"

// Pattern is a mailbox name with wildcards (RFC 9051 section 6.3.9): "*" matches any octets,
// "%" any except the hierarchy separator. Only one goroutine at a time may use it.
type Pattern struct {
	text  string // each run of wildcards is a single one
	sep   byte
	solo  int    // number of octets that are not wildcards
	table *table // nil until the first name that may match
}

// New returns the pattern for a text in UTF-8. sep is the hierarchy separator.
func New(text string, sep byte) *Pattern {
	p := &Pattern{sep: sep}
	var b strings.Builder
	for i := 0; i < len(text); {
		if !isWildcard(text[i]) {
			b.WriteByte(text[i])
			p.solo++
			i++
			continue
		}
		// A run of wildcards matches what the strongest of them matches.
		wild := byte('%')
		for ; i < len(text) && isWildcard(text[i]); i++ {
			if text[i] == '*' {
				wild = '*'
			}
		}
		b.WriteByte(wild)
	}
	p.text = b.String()
	return p
}

func isWildcard(c byte) bool { return c == '*' || c == '%' }

// table is a pattern as bit sets. They have a bit for each octet of its text, and one more: bit
// j stands for the state after the first j octets.
type table struct {
	literal [256][]uint64 // bit j+1: octet j is this octet; nil if none is
	wild    []uint64      // bit j: octet j is a wildcard
	star    []uint64      // bit j+1: octet j is "*"
	percent []uint64      // bit j+1: octet j is "%"
	row     []uint64      // memory of Matches
}

func (p *Pattern) makeTable() *table {
	words := len(p.text)/64 + 1
	t := &table{wild: make([]uint64, words), star: make([]uint64, words), percent: make([]uint64, words), row: make([]uint64, words)}
	for j := range len(p.text) {
		set := func(bits []uint64, j int) { bits[j/64] |= 1 << (j % 64) }
		switch c := p.text[j]; c {
		case '*':
			set(t.wild, j)
			set(t.star, j+1)
		case '%':
			set(t.wild, j)
			set(t.percent, j+1)
		default:
			if t.literal[c] == nil {
				t.literal[c] = make([]uint64, words)
			}
			set(t.literal[c], j+1)
		}
	}
	return t
}

// Matches reports whether the pattern matches a name. INBOX, also as the first level of a
// name, is matched regardless of case. It takes at most len(name) times len(p.text)/64
// steps, whatever the wildcards.
func (p *Pattern) Matches(name string) bool {
	if p.solo > len(name) {
		return false
	}
	if p.table == nil {
		p.table = p.makeTable()
	}
	t := p.table
	fold := 0 // octets that are compared regardless of case
	if len(name) >= 5 && name[:5] == "INBOX" && (len(name) == 5 || name[5] == p.sep) {
		fold = 5
	}
	row := t.row
	clear(row)
	row[0] = 1 | t.wild[0]&1<<1 // the empty name is matched by nothing, and by a wildcard
	for n := range len(name) {
		c := name[n]
		literal, other := t.literal[c], []uint64(nil)
		if n < fold {
			other = t.literal[c+('a'-'A')]
		}
		var possible, before, passed uint64 // before, passed: carries from word to word
		for w, was := range row {
			fits, stays := uint64(0), t.star[w]
			if literal != nil {
				fits = literal[w]
			}
			if other != nil {
				fits |= other[w]
			}
			if c != p.sep {
				stays |= t.percent[w]
			}
			now := (was<<1|before)&fits | was&stays
			before = was >> 63
			skips := now & t.wild[w] // no wildcard follows another
			now |= skips<<1 | passed
			passed = skips >> 63
			row[w] = now
			possible |= now
		}
		if possible == 0 {
			return false
		}
	}
	return row[len(p.text)/64]>>(len(p.text)%64)&1 != 0
}
