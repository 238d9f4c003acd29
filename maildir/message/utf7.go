package message

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// utf7 converts UTF-7 (RFC 2152) to UTF-8. Whatever is not valid is kept, except that
// octets that are not ASCII become U+FFFD.
type utf7 struct {
	shifted bool // after a "+"
	empty   bool // immediately after it
	bits    uint32
	n       int  // number of bits
	high    rune // the first half of a surrogate pair, or 0
}

func (u *utf7) Reset() { *u = utf7{} }

// utf7Most is the maximum number of octets for one octet of UTF-7: U+FFFD for an unpaired
// surrogate, and another character.
const utf7Most = 2 * utf8.UTFMax

func (u *utf7) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < utf7Most {
			return nDst, nSrc, transform.ErrShortDst
		}
		dst := dst[:nDst]
		switch c := src[nSrc]; {
		case u.shifted && base64Values[c] != noDigit:
			dst = u.digit(dst, c)
		case u.shifted:
			dst = u.unshift(dst, c)
		case c == '+':
			u.shifted, u.empty = true, true
		default:
			dst = appendASCII(dst, c)
		}
		nDst = len(dst)
	}
	if atEOF && u.shifted {
		if len(dst)-nDst < utf7Most {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst = len(u.unshift(dst[:nDst], '-')) // the mark may be missing at the end
	}
	return nDst, nSrc, nil
}

// digit adds six bits of text in UTF-16.
func (u *utf7) digit(dst []byte, c byte) []byte {
	u.empty = false
	u.bits = u.bits<<6 | uint32(base64Values[c])
	if u.n += 6; u.n < 16 {
		return dst
	}
	u.n -= 16
	r := rune(u.bits >> u.n & 0xffff)
	high := u.high
	u.high = 0
	if high != 0 {
		if whole := utf16.DecodeRune(high, r); whole != utf8.RuneError {
			return utf8.AppendRune(dst, whole)
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	if r >= 0xd800 && r < 0xdc00 {
		u.high = r
		return dst
	}
	return utf8.AppendRune(dst, r)
}

// unshift goes back to ASCII at an octet that is not a digit. "-" is only the mark of that,
// and "+-" is "+".
func (u *utf7) unshift(dst []byte, c byte) []byte {
	if u.high != 0 {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	empty := u.empty
	u.Reset()
	if empty {
		dst = append(dst, '+')
	}
	if c == '-' {
		return dst
	}
	return appendASCII(dst, c)
}

func appendASCII(dst []byte, c byte) []byte {
	if c >= utf8.RuneSelf {
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	return append(dst, c)
}
