package message

import (
	"slices"
	"strconv"
	"strings"
)

// piece is a parameter of RFC 2231: "name*", "name*0" or "name*0*".
type piece struct {
	base     string
	number   int // -1 if it is the only one
	extended bool
	value    string
}

// pieceOf splits the name of such a parameter.
func pieceOf(p Param) (piece, bool) {
	base, rest, ok := strings.Cut(p.Name, "*")
	out := piece{base: base, number: -1, value: p.Value}
	if !ok || base == "" {
		return out, false
	}
	if rest == "" {
		out.extended = true
		return out, true
	}
	rest, out.extended = strings.CutSuffix(rest, "*")
	n, ok := decimal(rest, 3)
	out.number = n
	return out, ok
}

// joinPieces joins values that are split into pieces, as RFC 2231 section 6 recommends for
// BODYSTRUCTURE. They follow the other parameters, as in Dovecot. A value in another
// charset stays encoded, under the name "name*".
func joinPieces(params []Param) []Param {
	star := func(p Param) bool { return strings.Contains(p.Name, "*") }
	if !slices.ContainsFunc(params, star) {
		return params
	}
	var out []Param
	var values [][]piece
	indexes := map[string]int{} // in values, by base in lower case
	for _, p := range params {
		pc, ok := pieceOf(p)
		if !ok {
			out = append(out, p)
			continue
		}
		base := strings.ToLower(pc.base)
		i, ok := indexes[base]
		if !ok {
			i = len(values)
			indexes[base] = i
			values = append(values, nil)
		}
		values[i] = append(values[i], pc)
	}
	for _, pieces := range values {
		out = append(out, joined(pieces)...)
	}
	return out
}

// joined joins the pieces of one value. If one is missing, they are left as they are.
func joined(pieces []piece) (out []Param) {
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.number - b.number })
	for len(pieces) > 0 && pieces[0].number < 0 {
		out = append(out, pieces[0].param())
		pieces = pieces[1:]
	}
	if len(pieces) == 0 {
		return out
	}
	extended := false
	for i, p := range pieces {
		extended = extended || p.extended
		if p.number != i {
			for _, p := range pieces {
				out = append(out, p.param())
			}
			return out
		}
	}
	name := pieces[0].base
	var value strings.Builder
	if extended {
		name += "*"
		if !pieces[0].extended {
			value.WriteString("''")
		}
	}
	for _, p := range pieces {
		if extended && !p.extended {
			percentEncode(&value, p.value)
		} else {
			value.WriteString(p.value)
		}
	}
	return append(out, Param{name, value.String()})
}

// param returns the piece as it was in the field.
func (p piece) param() Param {
	name := p.base + "*"
	if p.number >= 0 {
		name += strconv.Itoa(p.number)
		if p.extended {
			name += "*"
		}
	}
	return Param{name, p.value}
}

// percentEncode writes text in the form of an extended value.
func percentEncode(b *strings.Builder, text string) {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if c < 0x80 && tokens[c] && strings.IndexByte("*'%", c) < 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

// extendedValue decodes an extended value, without the charset and the language that may
// precede the text.
func extendedValue(value string) string {
	if i := strings.IndexByte(value, '\''); i >= 0 {
		if j := strings.IndexByte(value[i+1:], '\''); j >= 0 {
			value = value[i+1+j+1:]
		}
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) && isHex(value[i+1]) && isHex(value[i+2]) {
			b.WriteByte(unhex(value[i+1])<<4 | unhex(value[i+2]))
			i += 2
		} else {
			b.WriteByte(value[i])
		}
	}
	return b.String()
}
