package message

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// DecodeHeader converts the encoded words of RFC 2047 in a value to UTF-8. It is lenient,
// because these errors are common in mail: base64 with too little or too much padding,
// spaces and octets that are not ASCII in a "Q" word, and a character that begins in one
// word and ends in the next. Words in an unknown charset are decoded if they contain only
// ASCII, and are left as they are otherwise.
func DecodeHeader(raw string) string {
	if !strings.Contains(raw, "=?") {
		return raw
	}
	d := wordDecoder{raw: raw}
	for {
		i := strings.Index(raw[d.pos:], "=?")
		if i < 0 {
			break
		}
		if w, ok := d.word(d.pos + i); ok {
			d.take(w)
		} else {
			d.plain(d.pos + i + 2)
		}
	}
	d.plain(len(raw))
	return d.out.String()
}

// wordDecoder decodes a value word by word. Adjacent words in the same charset are decoded
// together.
type wordDecoder struct {
	raw string
	out strings.Builder
	pos int // the end of the text that was processed

	charset  string // of the words that are not written yet
	octets   []byte // their content
	from, to int    // where they are; equal if there are none
}

// encodedWord is an encoded word and its place in the value.
type encodedWord struct {
	charset, text string
	base64        bool
	from, to      int
}

// word parses the word that begins with the "=?" at from.
func (d *wordDecoder) word(from int) (w encodedWord, ok bool) {
	rest := d.raw[from+2:]
	i := strings.IndexByte(rest, '?')
	if i <= 0 || len(rest) < i+3 || rest[i+2] != '?' || strings.ContainsAny(rest[:i], " \t=") {
		return w, false
	}
	switch rest[i+1] {
	case 'b', 'B':
		w.base64 = true
	case 'q', 'Q':
	default:
		return w, false
	}
	// A language may follow the charset (RFC 2231 section 5).
	w.charset, _, _ = strings.Cut(rest[:i], "*")
	rest = rest[i+3:]
	end := endOfWord(rest, w.base64)
	if end < 0 {
		return w, false
	}
	w.text = rest[:end]
	w.from, w.to = from, len(d.raw)-len(rest)+end+2
	return w, true
}

// endOfWord returns the length of the text of a word before its "?=", or -1. A "?" in the
// text (RFC 2047 section 2 has none) is accepted where people forgot to encode it, but not
// in base64, nor in a "=?": there, the word was truncated and another one begins.
func endOfWord(text string, base64 bool) int {
	for end := 0; ; end++ {
		i := strings.IndexByte(text[end:], '?')
		if i < 0 {
			return -1
		}
		end += i
		switch {
		case strings.HasPrefix(text[end:], "?="):
			return end
		case base64 || end > 0 && text[end-1] == '=':
			return -1
		}
	}
}

// take adds a word. White space between two words is not text (RFC 2047 section 6.2).
func (d *wordDecoder) take(w encodedWord) {
	between := d.raw[d.pos:w.from]
	adjacent := d.from < d.to && strings.Trim(between, " \t\r\n") == ""
	if !adjacent || !strings.EqualFold(d.charset, w.charset) {
		d.flush()
		if !adjacent {
			d.out.WriteString(between)
		}
		d.charset, d.from = w.charset, w.from
	}
	if w.base64 {
		q := quanta{out: d.octets}
		q.digits([]byte(w.text))
		q.flush()
		d.octets = q.out
	} else {
		d.octets = appendQ(d.octets, w.text)
	}
	d.pos, d.to = w.to, w.to
}

// plain adds the text up to an offset, as it is.
func (d *wordDecoder) plain(to int) {
	d.flush()
	d.out.WriteString(d.raw[d.pos:to])
	d.pos = to
}

// flush decodes and writes the words that are not written yet.
func (d *wordDecoder) flush() {
	if d.from == d.to {
		return
	}
	if text, ok := decodeOctets(d.charset, d.octets); ok {
		d.out.Write(text)
	} else {
		d.out.WriteString(d.raw[d.from:d.to])
	}
	d.octets, d.from, d.to = d.octets[:0], 0, 0
}

// decodeOctets converts text from a charset to UTF-8. If it cannot, ok is false.
func decodeOctets(charset string, octets []byte) (text []byte, ok bool) {
	if isUTF8(charset) {
		return octets, true
	}
	d := CharsetDecoder(charset)
	if d == nil {
		return octets, bytes.IndexFunc(octets, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	}
	text, err := d.Bytes(octets)
	return text, err == nil
}

// appendQ decodes the "Q" encoding of RFC 2047 section 4.2.
func appendQ(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			dst = append(dst, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
