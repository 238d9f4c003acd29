package imap

import "strings"

// pattern is a mailbox name with wildcards (RFC 9051 section 6.3.9): "*" stands
// for any octets, "%" for any but the hierarchy separator.
type pattern struct {
	text string // runs of wildcards are one
	sep  byte
	solo int // octets that stand for themselves
}

func newPattern(text string, sep byte) pattern {
	p := pattern{sep: sep}
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

// matches tells whether the pattern matches a name. INBOX, also as the first
// level of a name, is matched in any case. It takes at most len(name)² steps.
func (p pattern) matches(name string) bool {
	if p.solo > len(name) {
		return false
	}
	fold := 0 // octets that are compared without regard to case
	if len(name) >= 5 && name[:5] == "INBOX" && (len(name) == 5 || name[5] == p.sep) {
		fold = 5
	}
	// Only the last wildcard of each kind needs to be tried again: whatever
	// an earlier one could take, a later one can take as well.
	i, n := 0, 0
	star, starN := -1, 0
	percent, percentN := -1, 0
	for {
		switch {
		case i < len(p.text) && p.text[i] == '*':
			star, starN, percent = i, n, -1
			i++
			continue
		case i < len(p.text) && p.text[i] == '%':
			percent, percentN = i, n
			i++
			continue
		case n == len(name) && i == len(p.text):
			return true
		case n < len(name) && i < len(p.text) && (p.text[i] == name[n] || n < fold && upper(p.text[i]) == name[n]):
			i++
			n++
			continue
		}
		switch {
		case percent >= 0 && percentN < len(name) && name[percentN] != p.sep:
			percentN++
			i, n = percent+1, percentN
		case star >= 0 && starN < len(name):
			starN++
			i, n, percent = star+1, starN, -1
		default:
			return false
		}
	}
}
