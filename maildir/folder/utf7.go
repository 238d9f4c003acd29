package folder

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// errUTF7 means that a name is not modified UTF-7. A name that follows the rules but is not
// the canonical spelling of its text (RFC 3501 section 5.1.3: printable US-ASCII must
// represent itself, and runs must not be split) is rejected too: two spellings of one name
// would be two folders that no client can distinguish.
var errUTF7 = errors.New("not valid modified UTF-7")

// utf7Base64 is base64 with ',' instead of '/' and without padding; bits that do not fill
// an octet must be zero.
var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 encodes text in modified UTF-7 (RFC 3501 section 5.1.3), in which Maildir
// folders are named on disk. Octets that are not UTF-8 become U+FFFD.
func EncodeUTF7(s string) string {
	i := 0
	for i < len(s) && isDirect(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s) + 8)
	for len(s) > 0 {
		switch c := s[0]; {
		case isDirect(c):
			out.WriteByte(c)
			s = s[1:]
		case c == '&':
			out.WriteString("&-")
			s = s[1:]
		default:
			n := 1
			for n < len(s) && !isPrintable(s[n]) {
				n++
			}
			out.WriteByte('&')
			out.WriteString(utf7Base64.EncodeToString(utf16Bytes(s[:n])))
			out.WriteByte('-')
			s = s[n:]
		}
	}
	return out.String()
}

// DecodeUTF7 decodes modified UTF-7. It accepts only what EncodeUTF7 produces.
func DecodeUTF7(s string) (string, error) {
	if strings.IndexByte(s, '&') < 0 {
		for i := 0; i < len(s); i++ {
			if !isPrintable(s[i]) {
				return "", errUTF7
			}
		}
		return s, nil
	}
	var out strings.Builder
	out.Grow(len(s))
	afterRun := false // the preceding text was base64: another run must not follow
	for len(s) > 0 {
		c := s[0]
		if c != '&' {
			if !isPrintable(c) {
				return "", errUTF7
			}
			out.WriteByte(c)
			s, afterRun = s[1:], false
			continue
		}
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", errUTF7
		}
		if end == 1 {
			out.WriteByte('&')
			s, afterRun = s[2:], false
			continue
		}
		if afterRun || !decodeRun(&out, s[1:end]) {
			return "", errUTF7
		}
		s, afterRun = s[end+1:], true
	}
	return out.String(), nil
}

// decodeRun decodes one base64 run. It must contain whole UTF-16 characters, none of which
// could represent itself.
func decodeRun(out *strings.Builder, run string) bool {
	// The decoder of the standard library skips line ends.
	if strings.ContainsAny(run, "\r\n") {
		return false
	}
	raw, err := utf7Base64.DecodeString(run)
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return false
	}
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			i += 2
			if i >= len(raw) {
				return false
			}
			r = utf16.DecodeRune(r, rune(raw[i])<<8|rune(raw[i+1]))
			if r == utf8.RuneError {
				return false
			}
		}
		if r < utf8.RuneSelf && isPrintable(byte(r)) {
			return false
		}
		out.WriteRune(r)
	}
	return true
}

func utf16Bytes(s string) []byte {
	units := utf16.Encode([]rune(s))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	return raw
}

func isPrintable(c byte) bool { return c >= 0x20 && c < 0x7f }

func isDirect(c byte) bool { return isPrintable(c) && c != '&' }
