package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-smtp"
)

const (
	// longestLine bounds a line of a reply, in octets; RFC 5321 section 4.5.3.1.5 has 512.
	longestLine = 4 << 10
	// mostLines bounds a reply.
	mostLines = 100
	// longestText bounds what of a reply is kept for people.
	longestText = 1000
)

// reply is what the relay said (RFC 5321 section 4.2).
type reply struct {
	code  int
	lines []string // one at least, in printable ASCII
}

// class is the first digit of a reply's code, by which a client goes: a code that it does
// not know means what others of its class do (RFC 5321 section 4.3.2).
type class int

const (
	none class = 0 // of no reply
	done class = 2
	goOn class = 3
)

func (r reply) class() class { return class(r.code / 100) }

// newReader reads lines of replies.
func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, longestLine) }

// reply takes the next one.
func (c *conn) reply() (reply, error) {
	r := reply{}
	for len(r.lines) < mostLines {
		line, err := c.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return reply{}, fmt.Errorf("%w: a line of its reply is longer than %d octets", ErrProtocol, longestLine)
		}
		if err != nil {
			return reply{}, fmt.Errorf("reply: %w", err)
		}
		code, more, text, ok := parseLine(line)
		if !ok || r.code != 0 && code != r.code {
			return reply{}, fmt.Errorf("%w: it replies %.100q", ErrProtocol, line)
		}
		r.code = code
		r.lines = append(r.lines, text)
		if !more {
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("%w: its reply has more than %d lines", ErrProtocol, mostLines)
}

// parseLine takes a line of a reply apart: "250-text". more tells that it is not the last.
func parseLine(line []byte) (code int, more bool, text string, ok bool) {
	s := strings.TrimRight(string(line), "\r\n")
	if len(s) < 3 || s[0] < '2' || s[0] > '5' {
		return 0, false, "", false
	}
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false, "", false
		}
		code = 10*code + int(s[i]-'0')
	}
	if s = s[3:]; s != "" {
		if s[0] != ' ' && s[0] != '-' {
			return 0, false, "", false
		}
		more, s = s[0] == '-', s[1:]
	}
	return code, more, printable(s), true
}

// printable replaces everything but printable ASCII by question marks.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// text is all lines in one.
func (r reply) text() string {
	s := strings.Join(r.lines, " ")
	return s[:min(len(s), longestText)]
}

// String is the reply for the log and for operators.
func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.text()) }

// refusal is the reply as an error for who submits: an SMTPError of 4xx or 5xx. Other
// replies say something about this server and not about his message: that the
// connection ends (421), or that a login is missing; or they make no sense.
func (r reply) refusal() error {
	switch {
	case r.code == 421:
		return fmt.Errorf("it ends the connection: %v", r)
	case r.code == 530, r.code == 534, r.code == 535, r.code == 538:
		return fmt.Errorf("%w: %v", ErrLogin, r)
	case r.code < 400:
		return fmt.Errorf("%w: it replies %v", ErrProtocol, r)
	}
	out := &smtp.SMTPError{Code: r.code}
	lines := make([]string, len(r.lines))
	for i, line := range r.lines { // each begins with the code (RFC 2034 section 4)
		enhanced, text, ok := cutEnhanced(line, r.code/100)
		if ok {
			out.EnhancedCode = enhanced
		}
		lines[i] = text
	}
	out.Message = reply{r.code, lines}.text()
	return out
}

// cutEnhanced takes an enhanced status code (RFC 3463) of that class from the front of a text.
func cutEnhanced(s string, class int) (code smtp.EnhancedCode, text string, ok bool) {
	word, rest, _ := strings.Cut(s, " ")
	parts := strings.Split(word, ".")
	if len(parts) != len(code) {
		return code, s, false
	}
	for i, part := range parts {
		if part == "" || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return smtp.EnhancedCode{}, s, false
		}
		for _, digit := range part {
			code[i] = 10*code[i] + int(digit-'0')
		}
	}
	if code[0] != class {
		return smtp.EnhancedCode{}, s, false
	}
	return code, rest, true
}
