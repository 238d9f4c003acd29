package message

import "strings"

// Part is one part of a message: the message itself, a part of a multipart, or the message
// in a message/rfc822 part. Texts are as in the header, unfolded, "" if the field is
// missing.
type Part struct {
	Start Pos // where the header starts
	Body  Pos // where the body starts, after the blank line
	End   Pos // where the body ends, before the line end that belongs to a boundary
	Lines int64

	Type, Subtype     string
	NoType            bool // there is no valid Content-Type, and Type is the default
	Params            []Param
	ID                string
	Description       string
	Encoding          string
	MD5               string
	Location          string
	Disposition       string
	DispositionParams []Param
	Language          []string

	// Children are the parts of a multipart, or the single message in a message/rfc822 or
	// message/global part.
	Children []*Part
}

// Param is a parameter of Content-Type or Content-Disposition. The value is without its
// quotes.
type Param struct{ Name, Value string }

// Multipart reports whether the part is divided by boundaries.
func (p *Part) Multipart() bool { return strings.EqualFold(p.Type, "multipart") }

// Message reports whether the part contains a message.
func (p *Part) Message() bool {
	return strings.EqualFold(p.Type, "message") &&
		(strings.EqualFold(p.Subtype, "rfc822") || strings.EqualFold(p.Subtype, "global"))
}

// partOctets is about how much memory a Part takes without its texts.
const partOctets = 400

// Memory returns about how many octets the part and those below it take at most.
func (p *Part) Memory() int64 {
	n := partOctets + p.Body.Phys - p.Start.Phys
	for _, child := range p.Children {
		n += child.Memory()
	}
	return n
}

// Embedded returns the message in a part of type message/rfc822 or message/global. It
// returns nil for parts of other types, and if the message was not parsed.
func (p *Part) Embedded() *Part {
	if !p.Message() || len(p.Children) != 1 {
		return nil
	}
	return p.Children[0]
}

// param returns the value of a parameter of Content-Type. The extended form of RFC 2231 is
// decoded for values in ASCII.
func (p *Part) param(name string) (string, bool) {
	value, ok := "", false
	for _, q := range p.Params {
		if strings.EqualFold(q.Name, name) {
			return q.Value, true
		}
		if base, extended := strings.CutSuffix(q.Name, "*"); extended && !ok && strings.EqualFold(base, name) {
			value, ok = extendedValue(q.Value), true
		}
	}
	return value, ok
}

// Find returns the part with an IMAP part number (RFC 9051 section 6.4.5.1). A message that
// is not a multipart has one part, 1, which is its own body. A multipart without parts
// counts as one with an empty part.
func (p *Part) Find(path []int) (*Part, bool) {
	for i, n := range path {
		if i > 0 {
			// Each number after the first one goes into a multipart or a message.
			switch {
			case p.Message() && len(p.Children) == 1:
				p = p.Children[0]
			case !p.Multipart():
				return nil, false
			}
		}
		switch {
		case p.Multipart() && len(p.Children) == 0:
			if n != 1 {
				return nil, false
			}
			p = p.empty()
		case p.Multipart():
			if n < 1 || n > len(p.Children) {
				return nil, false
			}
			p = p.Children[n-1]
		case n != 1:
			return nil, false
		}
	}
	return p, true
}

// empty returns the part that is used if a multipart has none.
func (p *Part) empty() *Part {
	return &Part{Start: p.End, Body: p.End, End: p.End, Type: "text", Subtype: "plain", NoType: true}
}
