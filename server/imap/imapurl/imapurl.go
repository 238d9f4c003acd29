// Package imapurl parses IMAP URLs (RFC 5092, and the access identifiers and tokens of RFC
// 4467) that refer to messages, as CATENATE and URLAUTH use them. It checks neither whether
// what a URL refers to exists nor whether its token is correct.
package imapurl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/syntax"
)

// URL is an IMAP URL (RFC 5092) of a message or a part of one.
type URL struct {
	// Absolute: the URL begins with "imap://". Only then are there User, which may be empty,
	// and Host, which includes the port if the URL has one.
	Absolute   bool
	dots       bool // the path contained "." or ".."
	User, Host string

	Mailbox  string // in UTF-8; "" for the mailbox that the URL is relative to
	Validity uint32 // 0 if the URL does not have it
	UID      uint32
	Part     syntax.Section // SECTION and PARTIAL; a PARTIAL without a size extends to the end

	Auth Auth // zero if the URL has no URLAUTH
}

// Auth is what a URL says about who may use it (RFC 4467 section 3).
type Auth struct {
	Expires time.Time // zero for never
	Access  Access
	User    string // for UserAccess and SubmitAccess

	// Rump is the URL up to the mechanism and the token, as it was written. Both are empty in a
	// URL that is not authorised yet.
	Rump      string
	Mechanism string // in upper case
	Token     []byte
}

// Access is an access identifier (RFC 4467 section 3).
type Access uint8

const (
	NoAccess        Access = iota // there is none
	SubmitAccess                  // whoever submits mail on behalf of Auth.User
	UserAccess                    // Auth.User
	AuthUserAccess                // all logged-in users
	AnonymousAccess               // everybody
)

const (
	// MaxLen is the maximum length of a URL in octets.
	MaxLen = 4096
	// toTheEnd is the size of a part if PARTIAL does not specify a length.
	toTheEnd = math.MaxInt64
)

// Parse parses a URL of a message or its parts. It accepts the forms of RFC 5092 section 11
// that do not depend on a position in a hierarchy: absolute URLs, and those that begin with a
// slash or ";UID=". Part.Peek is set. The text of an error is meant for users.
func Parse(text string) (u URL, err error) {
	if len(text) > MaxLen {
		return u, fmt.Errorf("a URL may have at most %d octets", MaxLen)
	}
	p := urlParser{rest: text}
	u.Part.Peek = true
	path := true
	switch {
	case p.accept("imap://"):
		if err := p.server(&u); err != nil {
			return u, err
		}
	case strings.HasPrefix(text, "//"):
		return u, errors.New("it names another server")
	case p.accept("/"):
	default:
		path = false
	}
	if !path {
		if !p.accept(";UID=") {
			return u, errors.New("it must begin with a slash or ;UID=")
		}
	} else {
		plain := p.rest
		p.rest = withoutDots(plain)
		u.dots = p.rest != plain
		if err := p.mailbox(&u); err != nil {
			return u, err
		}
	}
	if u.UID, err = p.number32("UID"); err != nil {
		return u, err
	}
	if p.accept("/;SECTION=") {
		if err := p.section(&u.Part); err != nil {
			return u, err
		}
	}
	if p.accept("/;PARTIAL=") {
		if err := p.partial(&u.Part); err != nil {
			return u, err
		}
	}
	if err := p.authorisation(&u, text); err != nil {
		return u, err
	}
	if p.rest != "" {
		return u, fmt.Errorf("it has an unknown part at %.20q", p.rest)
	}
	return u, nil
}

// withoutDots resolves "." and ".." in a path without its leading slash (RFC 3986 section
// 5.2.4). Percent-encoded dots are part of a name.
func withoutDots(path string) string {
	var kept []string
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == ".." && len(kept) > 0 {
			kept = kept[:len(kept)-1]
		}
		if segment != "." && segment != ".." {
			kept = append(kept, segment)
		} else if i == len(segments)-1 {
			kept = append(kept, "") // it is a directory
		}
	}
	return strings.Join(kept, "/")
}

// urlParser takes a URL from its beginning.
type urlParser struct{ rest string }

// accept takes text, ignoring case, if it is next.
func (p *urlParser) accept(text string) bool {
	if len(p.rest) < len(text) || !strings.EqualFold(p.rest[:len(text)], text) {
		return false
	}
	p.rest = p.rest[len(text):]
	return true
}

// until takes everything before the first of some characters, but not that character.
func (p *urlParser) until(chars string) string {
	i := strings.IndexAny(p.rest, chars)
	if i < 0 {
		i = len(p.rest)
	}
	text := p.rest[:i]
	p.rest = p.rest[i:]
	return text
}

// server takes "user;AUTH=mechanism@host:port/".
func (p *urlParser) server(u *URL) (err error) {
	u.Absolute = true
	server := urlParser{rest: p.until("/")}
	if !p.accept("/") {
		return errors.New("it names a server, not a message")
	}
	if strings.Contains(server.rest, "@") {
		if u.User, err = decodeURL(server.until(";@"), "&="); err != nil {
			return err
		}
		// The mechanism is of no interest here.
		if server.accept(";AUTH=") {
			if _, err := decodeURL(server.until("@"), "&=*"); err != nil {
				return err
			}
		}
		if !server.accept("@") {
			return errors.New("its user is malformed")
		}
	}
	// "[", "]" and ":" are used in IPv6 addresses and before a port.
	if u.Host, err = decodeURL(server.rest, "&=:[]"); err == nil && u.Host == "" {
		err = errors.New("it does not name a server")
	}
	return err
}

// mailbox takes "mailbox;UIDVALIDITY=number/;UID=".
func (p *urlParser) mailbox(u *URL) (err error) {
	name := p.until(";")
	if p.accept(";UIDVALIDITY=") {
		if u.Validity, err = p.number32("UIDVALIDITY"); err != nil {
			return err
		}
		if !p.accept("/;UID=") {
			return errNoMessage
		}
	} else {
		var slash bool
		name, slash = strings.CutSuffix(name, "/")
		if !slash || !p.accept(";UID=") {
			return errNoMessage
		}
	}
	if name == "" {
		return errors.New("it does not name a mailbox")
	}
	u.Mailbox, err = decodeURL(name, "&=:@/")
	return err
}

var errNoMessage = errors.New("it does not refer to a message")

// number32 takes a 32-bit number other than 0.
func (p *urlParser) number32(what string) (uint32, error) {
	n, ok := p.digits(math.MaxUint32)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%s is not a 32-bit number above 0", what)
	}
	return uint32(n), nil
}

// digits takes a number; ok is false if there is none, or it exceeds limit.
func (p *urlParser) digits(limit int64) (n int64, ok bool) {
	for p.rest != "" && p.rest[0] >= '0' && p.rest[0] <= '9' {
		digit := int64(p.rest[0] - '0')
		if n > (limit-digit)/10 {
			return 0, false
		}
		n, ok = 10*n+digit, true
		p.rest = p.rest[1:]
	}
	return n, ok
}

// section takes a percent-encoded section, as FETCH has it between brackets.
func (p *urlParser) section(to *syntax.Section) error {
	text := p.until(";")
	if cut, slash := strings.CutSuffix(text, "/"); slash {
		text, p.rest = cut, "/"+p.rest // it belongs to what follows
	}
	text, err := decodeURL(text, "&=:@/")
	if err != nil {
		return err
	}
	if text == "" || strings.ContainsAny(text, "[]<>") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return errBadSection
	}
	lx := syntax.Lexer{Source: strings.NewReader("[" + text + "]\r\n"), Continue: func() {}, Limits: syntax.Limits{Line: 2 * MaxLen, Depth: 2}}
	lx.Section(to)
	if lx.End() != nil {
		err = errBadSection
	}
	lx.Discard()
	return err
}

var errBadSection = errors.New("its section is malformed")

// partial takes "offset.length", or an offset alone.
func (p *urlParser) partial(to *syntax.Section) error {
	offset, ok := p.digits(math.MaxInt64)
	size := int64(toTheEnd)
	if ok && p.accept(".") {
		size, ok = p.digits(math.MaxInt64)
	}
	if !ok || size == 0 {
		return errors.New("its PARTIAL is malformed")
	}
	to.Partial = &imap.SectionPartial{Offset: offset, Size: size}
	return nil
}

// authorisation takes what is there of ";EXPIRE=date-time;URLAUTH=access:mechanism:token" at
// the end of a URL.
func (p *urlParser) authorisation(u *URL, text string) (err error) {
	a := &u.Auth
	if p.accept(";EXPIRE=") {
		date, err := decodeURL(p.until(";"), ":")
		if err == nil {
			a.Expires, err = time.Parse(time.RFC3339, strings.ToUpper(date))
		}
		if err != nil {
			return errors.New("its EXPIRE is malformed")
		}
	}
	if !p.accept(";URLAUTH=") {
		if !a.Expires.IsZero() {
			return errors.New("EXPIRE is for URLs with URLAUTH only")
		}
		return nil
	}
	if !u.Absolute || u.dots {
		return errors.New("only an absolute URL, without dots in its path, can have URLAUTH")
	}
	switch {
	case p.accept("submit+"):
		a.Access = SubmitAccess
	case p.accept("user+"):
		a.Access = UserAccess
	case p.accept("authuser"):
		a.Access = AuthUserAccess
	case p.accept("anonymous"):
		a.Access = AnonymousAccess
	default:
		return errors.New("its access identifier is unknown")
	}
	if a.Access == SubmitAccess || a.Access == UserAccess {
		// "@" should be percent-encoded, but nothing else can be meant by it here, and user
		// names often contain it.
		if a.User, err = decodeURL(p.until(":"), "&=@"); err != nil {
			return err
		}
		if a.User == "" {
			return errors.New("its access identifier does not name a user")
		}
	}
	a.Rump = text[:len(text)-len(p.rest)]
	if !p.accept(":") {
		return nil
	}
	if a.Mechanism = strings.ToUpper(p.until(":")); !isMechanism(a.Mechanism) {
		return errors.New("its mechanism is unknown")
	}
	p.accept(":")
	a.Token, err = hex.DecodeString(p.rest)
	p.rest = ""
	if err != nil || len(a.Token) == 0 {
		return errors.New("its token is malformed")
	}
	return nil
}

// isMechanism reports whether a name in upper case is valid for a mechanism
// (RFC 4467 section 9).
func isMechanism(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// decodeURL decodes percent-encoding. Unencoded, text may only contain the characters that are
// allowed everywhere (RFC 5092 section 11, uchar) and those of more.
func decodeURL(text, more string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '%':
			if i+2 >= len(text) {
				return "", errPercent
			}
			high, low := hexDigit(text[i+1]), hexDigit(text[i+2])
			if high < 0 || low < 0 {
				return "", errPercent
			}
			c = byte(high<<4 | low)
			if c == 0 {
				return "", errors.New("it contains a NUL")
			}
			i += 2
		case urlPlain(c), strings.IndexByte(more, c) >= 0:
		default:
			return "", fmt.Errorf("it contains %q where that must be percent-encoded", c)
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

var errPercent = errors.New("a percent sign is not followed by two hexadecimal digits")

// urlPlain reports whether a character needs no encoding anywhere in a URL.
func urlPlain(c byte) bool {
	switch u := syntax.Upper(c); {
	case u >= 'A' && u <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c != 0 && strings.IndexByte("-._~!$'()*+,", c) >= 0
}

func hexDigit(c byte) int {
	return strings.IndexByte("0123456789ABCDEF", syntax.Upper(c))
}

// Escape makes any text suitable for a response code with a URL: it percent-encodes the
// characters that a URL cannot contain.
func Escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; urlPlain(c) || strings.IndexByte("%&=:@/;?", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
