package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// code3 is an enhanced status code (RFC 3463).
type code3 = smtp.EnhancedCode

// refusal returns an error that is sent as the reply to a command.
func refusal(code int, enhanced code3, format string, args ...any) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: fmt.Sprintf(format, args...)}
}

// tempFailure returns the reply to an error that means something only to the operator.
func tempFailure() *smtp.SMTPError {
	return refusal(451, code3{4, 3, 0}, "Temporary failure, please try again later")
}

// refusalOf returns the reply for err. It is temporary if err is not a reply: the text of such an
// error must only be logged.
func refusalOf(err error) (r *smtp.SMTPError) {
	if errors.As(err, &r) {
		return r
	}
	return tempFailure()
}

// longestReply keeps a reply line within 512 octets (RFC 5321 section 4.5.3.1.5).
const longestReply = 512 - len("550-5.999.999 ") - len("\r\n")

// appendReply appends a reply of one or more lines. For replies that have no enhanced code
// (3yz, the greeting, EHLO), enhanced must be smtp.NoEnhancedCode.
func appendReply(b []byte, code int, enhanced code3, lines ...string) []byte {
	for i, line := range lines {
		b = strconv.AppendInt(b, int64(code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if enhanced == smtp.EnhancedCodeNotSet {
			enhanced = code3{code / 100, 0, 0}
		}
		if enhanced != smtp.NoEnhancedCode {
			for i, n := range enhanced {
				b = append(strconv.AppendInt(b, int64(n), 10), ".. "[i])
			}
		}
		b = append(b, replyText(line)...)
		b = append(b, "\r\n"...)
	}
	return b
}

// asLine returns a refusal for the log, as the client sees it.
func asLine(r *smtp.SMTPError) string {
	return strings.TrimSuffix(string(appendReply(nil, r.Code, r.EnhancedCode, r.Message)), "\r\n")
}

// replyText makes a text suitable for a reply line: quoted input of a client
// cannot begin another line.
func replyText(s string) string {
	if len(s) > longestReply {
		s = s[:longestReply]
	}
	return printable(s)
}

// printable replaces everything except printable ASCII with question marks.
func printable(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r >= 0x7f {
					return '?'
				}
				return r
			}, s)
		}
	}
	return s
}
