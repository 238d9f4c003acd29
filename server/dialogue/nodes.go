package dialogue

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// node is a list, a string or an atom in a response.
type node struct {
	text string
	list []node
	is   bool // it is a list
}

// parseNodes parses a response.
func parseNodes(s string) []node {
	p := &nodeParser{s}
	return p.list()
}

// nodeParser parses a response; rest is what remains of it.
type nodeParser struct{ rest string }

func (p *nodeParser) list() (out []node) {
	for p.rest != "" {
		switch p.rest[0] {
		case ' ':
			p.rest = p.rest[1:]
		case '(':
			p.rest = p.rest[1:]
			out = append(out, node{is: true, list: p.list()})
		case ')':
			p.rest = p.rest[1:]
			return out
		case '"':
			out = append(out, node{text: p.quoted()})
		default:
			out = append(out, node{text: p.atom()})
		}
	}
	return out
}

func (p *nodeParser) quoted() string {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case '\\':
			i++
		}
		if i < len(p.rest) {
			b.WriteByte(p.rest[i])
		}
	}
	p.rest = ""
	return b.String()
}

var literalStart = regexp.MustCompile(`^~?\{(\d+)\}\r\n`)

// atom takes a literal, or an atom. Within brackets, an atom may contain anything.
func (p *nodeParser) atom() string {
	if m := literalStart.FindStringSubmatch(p.rest); m != nil {
		n, _ := strconv.Atoi(m[1])
		from := len(m[0])
		to := min(from+n, len(p.rest))
		text := p.rest[from:to]
		p.rest = p.rest[to:]
		return text
	}
	depth := 0
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth <= 0 && (c == ' ' || c == '(' || c == ')'):
			text := p.rest[:i]
			p.rest = p.rest[i:]
			return text
		}
	}
	text := p.rest
	p.rest = ""
	return text
}

// sameNodes compares responses. A list of flags, and the pairs in a FETCH or STATUS response,
// may be in any order.
func (c *comparer) sameNodes(want, got []node) bool {
	if len(want) == 1 && want[0].text == "<*>" {
		return true
	}
	pairs := len(want) > 2 && (want[1].text == "STATUS" || want[2].text == "FETCH")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if !c.sameNode(want[i], got[i], pairs && i == len(want)-1) {
			return false
		}
	}
	return true
}

func (c *comparer) sameNode(want, got node, pairs bool) bool {
	switch {
	case want.text == "<*>":
		return true
	case want.is != got.is:
		return false
	case !want.is:
		return c.match(want.text, got.text) || c.match(strings.ToUpper(want.text), strings.ToUpper(got.text))
	case pairs:
		return c.samePairs(want.list, got.list)
	}
	isFlag := func(n node) bool { return strings.HasPrefix(n.text, `\`) || strings.HasPrefix(n.text, "$") }
	if !slices.ContainsFunc(want.list, isFlag) && !slices.ContainsFunc(got.list, isFlag) {
		return c.sameNodes(want.list, got.list)
	}
	return c.sameFlags(want.list, got.list)
}

// sameFlags compares flags or attributes in any order.
func (c *comparer) sameFlags(want, got []node) bool {
	left := slices.Clone(got)
	wild := false
	for _, w := range want {
		if w.text == "<*>" {
			wild = true
			continue
		}
		i := slices.IndexFunc(left, func(g node) bool { return c.sameNode(w, g, false) })
		if i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else if !unasked[w.text] {
			return false
		}
	}
	return wild || !slices.ContainsFunc(left, func(g node) bool { return !unasked[g.text] })
}

// unasked are the attributes that a server may return whether or not a LIST asks for them (RFC
// 9051 section 6.3.9.5, RFC 6154 section 2).
var unasked = map[string]bool{
	`\HasChildren`: true, `\HasNoChildren`: true, `\Archive`: true, `\Drafts`: true, `\Junk`: true, `\Sent`: true, `\Trash`: true,
}

func (c *comparer) samePairs(want, got []node) bool {
	if len(want) == len(got)+2 && want[0].text == "UID" { // which may be returned unasked (RFC 9051 section 7.5.2)
		want = want[2:]
	}
	if len(want) != len(got) || len(want)%2 != 0 {
		return len(want) == 1 && want[0].text == "<*>"
	}
	for i := 0; i < len(want); i += 2 {
		found := false
		for j := 0; j < len(got) && !found; j += 2 {
			found = strings.EqualFold(want[i].text, got[j].text) && c.sameNode(want[i+1], got[j+1], false)
		}
		if !found {
			return false
		}
	}
	return true
}
