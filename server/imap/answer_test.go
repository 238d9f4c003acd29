package imap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// closedByServer stands for the answer to a command during which the server
// closed the connection.
const closedByServer = "connection closed"

// fetched sends a FETCH of one item of one message and returns the item's value in the form of
// canonicalValue, or the server's response if it refuses.
func (c *testClient) fetched(seq int, item string) string {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("t%d ", c.tags)
	c.send(fmt.Sprintf("%sFETCH %d (%s)\r\n", tag, seq, item))
	value := ""
	for {
		line, err := c.response()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return closedByServer
		}
		if err != nil {
			c.t.Fatalf("FETCH %d (%s): after %.200q: %v", seq, item, line, err)
		}
		if rest, ok := bytes.CutPrefix(line, []byte(tag)); ok {
			if !bytes.HasPrefix(rest, []byte("OK")) {
				value = strings.TrimSpace(value + " " + responseKind(string(rest)))
			}
			return value
		}
		if _, rest, ok := bytes.Cut(line, fmt.Appendf(nil, "* %d FETCH (", seq)); ok {
			value = itemValue(rest)
		}
	}
}

// responseKind removes the text of a status response, which differs between servers.
func responseKind(s string) string {
	kind, rest, _ := strings.Cut(s, " ")
	if strings.HasPrefix(rest, "[") {
		code, _, _ := strings.Cut(rest, "]")
		return kind + " " + code + "]"
	}
	return kind
}

// response reads a response, including its literals.
func (c *testClient) response() (out []byte, err error) {
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(60 * time.Second))
		line, err := c.in.ReadBytes('\n')
		out = append(out, line...)
		if err != nil {
			return out, err
		}
		n, ok := announced(line)
		if !ok {
			return out, nil
		}
		lit := make([]byte, n)
		got, err := io.ReadFull(c.in, lit)
		out = append(out, lit[:got]...)
		if err != nil {
			return out, err
		}
	}
}

// announced reports whether a line ends in {n}.
func announced(line []byte) (int, bool) {
	text, ok := bytes.CutSuffix(line, []byte("}\r\n"))
	open := bytes.LastIndexByte(text, '{')
	if !ok || open < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(text[open+1:]))
	return n, err == nil
}

// itemValue parses "NAME value)".
func itemValue(b []byte) string {
	depth := 0
	for i, c := range b {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ' ':
			if depth == 0 {
				v, _ := canonicalValue(b[i+1:])
				return v
			}
		}
	}
	return fmt.Sprintf("no item: %q", b)
}

// canonicalValue returns a value in a form that does not depend on which of several equivalent
// forms the server chose: strings are quoted as in Go, with one line each for a string of
// several lines. A literal8 begins with "~".
func canonicalValue(b []byte) (text string, rest []byte) {
	if len(b) == 0 {
		return "nothing", nil
	}
	switch b[0] {
	case '(':
		b = b[1:]
		var items []string
		for len(b) > 0 && b[0] != ')' {
			if b[0] == ' ' {
				b = b[1:]
				continue
			}
			var one string
			one, b = canonicalValue(b)
			items = append(items, one)
		}
		if len(b) > 0 {
			b = b[1:]
		}
		return "(" + strings.Join(items, " ") + ")", b
	case '"':
		var s []byte
		for b = b[1:]; len(b) > 0 && b[0] != '"'; b = b[1:] {
			if b[0] == '\\' && len(b) > 1 {
				b = b[1:]
			}
			s = append(s, b[0])
		}
		return strconv.Quote(string(s)), b[min(1, len(b)):]
	case '{', '~':
		head, after, _ := bytes.Cut(b, []byte("\r\n"))
		n, _ := announced(append(bytes.Clone(head), "\r\n"...))
		n = min(n, len(after))
		text := quotedLines(string(after[:n]))
		if b[0] == '~' {
			text = "~" + text
		}
		return text, after[n:]
	}
	i := bytes.IndexAny(b, " )\r")
	if i < 0 {
		i = len(b)
	}
	return string(b[:i]), b[i:]
}

// quotedLines quotes a text, line by line if it has several lines.
func quotedLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" && len(lines) > 1 {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 1 {
		return strconv.Quote(s)
	}
	for i, l := range lines {
		lines[i] = "\n    " + strconv.Quote(l)
	}
	return strings.Join(lines, "")
}
