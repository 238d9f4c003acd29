package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-smtp"

	"maildird/server/accept"
)

const (
	// longestLine is the maximum length of a line of a reply, in octets; RFC 5321
	// section 4.5.3.1.5 has 512.
	longestLine = 4 << 10
	// mostLines is the maximum number of lines of a reply.
	mostLines = 100
	// longestText is how much of a reply is kept for error texts and the log, in octets.
	longestText = 1000
)

// reply is a reply of the relay (RFC 5321 section 4.2).
type reply struct {
	code  int
	lines []string // at least one, in printable ASCII
}

// class is the first digit of a reply's code. In a transaction it decides between success and
// failure: a code that the client does not know means the same as others of the class (RFC 5321
// section 4.3.2).
type class int

const (
	none class = 0 // of no reply
	done class = 2
	goOn class = 3
)

func (r reply) class() class { return class(r.code / 100) }

// newReader returns a reader for replies.
func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, longestLine) }

// reply reads the next reply. A relay that sends it in pieces, or after what its TLS has sent
// unasked (session tickets), may hold it back until that is acknowledged: Postfix does.
func (c *conn) reply() (reply, error) {
	if c.in.Buffered() == 0 {
		accept.Acknowledge(c.socket)
	}
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

// parseLine parses a line of a reply, "250-text". more reports whether it is not the last one.
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

// printable replaces everything except printable ASCII with question marks.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// text returns all lines as one.
func (r reply) text() string {
	s := strings.Join(r.lines, " ")
	return s[:min(len(s), longestText)]
}

// String returns the reply for the log and for operators.
func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.text()) }

// refusal returns the reply as an error for the submitting client, an SMTPError with 4xx or
// 5xx. For a reply that is not about the client's message it returns another error: for the end
// of the connection (421), a missing login, or a reply that makes no sense.
func (r reply) refusal() error {
	switch {
	case r.code == 421:
		return fmt.Errorf("%w: it ends the connection: %v", ErrForNow, r)
	case r.code == 530, r.code == 534, r.code == 535, r.code == 538:
		return fmt.Errorf("%w: %v", ErrLogin, r)
	case r.code < 400:
		return fmt.Errorf("%w: it replies %v", ErrProtocol, r)
	}
	out := &smtp.SMTPError{Code: r.code}
	lines := make([]string, len(r.lines))
	for i, line := range r.lines { // each line begins with the code (RFC 2034 section 4)
		enhanced, text, ok := cutEnhanced(line, r.code/100)
		if ok {
			out.EnhancedCode = enhanced
		}
		lines[i] = text
	}
	out.Message = reply{r.code, lines}.text()
	return out
}

// cutEnhanced takes an enhanced status code (RFC 3463) of a class from the front of a text.
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
