package smtp

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// address is a parsed mailbox of RFC 5321 section 4.1.2.
type address struct {
	local  string // without quoting
	domain string // as given, or "[...]"; "" if the address is only a local part
}

// Maximum lengths of the parts of an address, in octets; of the local part with its quoting, so that
// no line of a header is too long (998 octets, RFC 5322 section 2.1.1). RFC 5321 section 4.5.3.1
// requires at least 64 octets for a local part, and no limit where possible. Local parts that
// contain another address (VERP, SRS) are longer than 64.
const (
	longestLocal  = 512
	longestDomain = 255
	longestRoute  = 1024
)

var (
	errPath      = errors.New("address is not <local-part@domain>")
	errLocal     = errors.New("local part of the address is malformed")
	errDomain    = errors.New("domain of the address is malformed")
	errLong      = errors.New("address is too long")
	errUTF8      = errors.New("address has non-ASCII characters, which require SMTPUTF8")
	errNotUTF8   = errors.New("address is not UTF-8")
	errRoute     = errors.New("source route of the address is malformed")
	errTrailing  = errors.New("address must be followed by a space or nothing")
	errNoBracket = errors.New("address has no closing >")
)

// parsePath takes a path, "<" [route ":"] mailbox ">" or "<>", from the front of s, and returns
// what follows. null reports whether it is "<>". A source route is dropped (RFC 5321 appendix
// C). Angle brackets may be missing, because some devices omit them. The mailbox may be only a
// local part; the caller decides whether that is allowed.
func parsePath(s string, utf8Allowed bool) (a address, null bool, rest string, err error) {
	if err := checkUTF8(s, utf8Allowed); err != nil {
		return address{}, false, "", err
	}
	if !strings.HasPrefix(s, "<") {
		if a, rest, err = parseMailbox(s); err != nil {
			return address{}, false, "", err
		}
		return endPath(a, rest)
	}
	s = s[1:]
	if rest, ok := strings.CutPrefix(s, ">"); ok {
		_, _, rest, err = endPath(a, rest)
		return address{}, err == nil, rest, err
	}
	if strings.HasPrefix(s, "@") {
		route, mailbox, ok := strings.Cut(s, ":")
		if !ok || len(route) > longestRoute {
			return address{}, false, "", errRoute
		}
		for hop := range strings.SplitSeq(route, ",") {
			if !strings.HasPrefix(hop, "@") || !validDomain(hop[1:]) {
				return address{}, false, "", errRoute
			}
		}
		s = mailbox
	}
	if a, s, err = parseMailbox(s); err != nil {
		return address{}, false, "", err
	}
	if !strings.HasPrefix(s, ">") {
		return address{}, false, "", errNoBracket
	}
	return endPath(a, s[1:])
}

// endPath checks that either parameters or nothing follow.
func endPath(a address, rest string) (address, bool, string, error) {
	if rest != "" && rest[0] != ' ' {
		return address{}, false, "", errTrailing
	}
	return a, false, rest, nil
}

func checkUTF8(s string, allowed bool) error {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			switch {
			case !allowed:
				return errUTF8
			case !utf8.ValidString(s):
				return errNotUTF8
			}
			return nil
		}
	}
	return nil
}

// parseMailbox takes a local part and, after an "@", a domain. It copies them, since they are kept
// longer than the line, which may be thousands of spaces.
func parseMailbox(s string) (a address, rest string, err error) {
	quoted := strings.HasPrefix(s, `"`)
	if quoted {
		a.local, s, err = parseQuoted(s)
	} else {
		n := 0
		for n < len(s) && (isAtext(s[n]) || s[n] == '.') {
			n++
		}
		a.local, s = strings.Clone(s[:n]), s[n:]
	}
	switch {
	case err != nil:
		return address{}, "", err
	case a.local == "" && !(quoted && strings.HasPrefix(s, "@")): // ""@example.org is an address
		return address{}, "", errPath
	case len(a.local) > longestLocal, quoted && len(address{local: a.local}.String()) > longestLocal:
		return address{}, "", errLong
	case !strings.HasPrefix(s, "@"):
		return a, s, nil
	}
	s = s[1:]
	n := strings.IndexAny(s, "> ")
	if n < 0 {
		n = len(s)
	}
	a.domain, rest = strings.Clone(s[:n]), s[n:]
	if len(a.domain) > longestDomain {
		return address{}, "", errLong
	}
	if !validDomain(a.domain) {
		return address{}, "", errDomain
	}
	return a, rest, nil
}

// parseQuoted takes a quoted string and removes the quoting: "a b" and "a\ b" are
// the same local part.
func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			return b.String(), s[i+1:], nil
		}
		if c == '\\' {
			if i++; i == len(s) {
				break
			}
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			return "", "", errLocal
		}
		b.WriteByte(c)
	}
	return "", "", errLocal
}

// isAtext reports whether c is atext (RFC 5322 section 3.2.3) or UTF-8 (RFC 6531 section 3.3).
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= utf8.RuneSelf:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// validDomain reports whether s is a domain name or an address literal. Labels may contain
// underscores, which some hosts have, and UTF-8 (U-labels).
func validDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		return validLiteral(s)
	}
	if s == "" || len(s) > longestDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c >= utf8.RuneSelf) {
				return false
			}
		}
	}
	return true
}

// validLiteral reports whether s is an address literal such as "[192.0.2.1]" or
// "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3).
func validLiteral(s string) bool {
	inside, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return false
	}
	v6 := len(inside) > 5 && strings.EqualFold(inside[:5], "IPv6:")
	if v6 {
		inside = inside[5:]
	}
	ip, err := netip.ParseAddr(inside)
	return err == nil && ip.Is6() == v6 && ip.Zone() == ""
}

// isDotString reports whether a local part needs no quoting (RFC 5321 section 4.1.2). parsePath takes
// dots in other places without it, as many clients send them, but other servers may not.
func isDotString(local string) bool {
	dot := true // at the beginning, or after a dot
	for i := range len(local) {
		if local[i] != '.' && !isAtext(local[i]) || local[i] == '.' && dot {
			return false
		}
		dot = local[i] == '.'
	}
	return !dot
}

// String returns the address, with the local part quoted if necessary.
func (a address) String() string {
	local := a.local
	if !isDotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if a.domain == "" {
		return local
	}
	return local + "@" + a.domain
}
