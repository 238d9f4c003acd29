// Package pattern matches names of mailboxes with the wildcards of LIST and LSUB,
// in a time that no pattern can make long.
package pattern

import (
	"strings"

	"maildird/server/imap/syntax"
)

// Pattern is a mailbox name with wildcards (RFC 9051 section 6.3.9): "*" stands
// for any octets, "%" for any but the hierarchy separator. For one goroutine at a
// time.
type Pattern struct {
	text string // runs of wildcards are one
	sep  byte
	solo int    // octets that stand for themselves
	row  []bool // of matches
}

// New makes the pattern of a text in UTF-8; sep is the hierarchy separator.
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
		// A run matches what its strongest member matches.
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

// Matches tells whether the pattern matches a name. INBOX, also as the first
// level of a name, is matched in any case. Whatever the wildcards, it takes
// len(name) times len(p.text) steps at most.
func (p *Pattern) Matches(name string) bool {
	if p.solo > len(name) {
		return false
	}
	fold := 0 // octets that are compared without regard to case
	if len(name) >= 5 && name[:5] == "INBOX" && (len(name) == 5 || name[5] == p.sep) {
		fold = 5
	}
	// row[j] says that the first j octets of the pattern match the part of
	// the name that was looked at.
	row := append(p.row[:0], true)
	for j := range len(p.text) {
		row = append(row, row[j] && isWildcard(p.text[j]))
	}
	p.row = row
	for n := range len(name) {
		c := name[n]
		before, possible := row[0], false // before: row[j] without c
		row[0] = false
		for j := range len(p.text) {
			was := row[j+1]
			switch p.text[j] {
			case '*':
				row[j+1] = row[j] || was
			case '%':
				row[j+1] = row[j] || was && c != p.sep
			default:
				row[j+1] = before && (p.text[j] == c || n < fold && syntax.Upper(p.text[j]) == c)
			}
			before = was
			possible = possible || row[j+1]
		}
		if !possible {
			return false
		}
	}
	return row[len(p.text)]
}
