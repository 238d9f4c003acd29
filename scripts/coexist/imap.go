package coexist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerLimit is how long a server may take to respond. Dovecot waits up to two
// minutes for a lock.
const answerLimit = 150 * time.Second

// Client is a logged-in IMAP connection to any server. It is not safe for concurrent use.
type Client struct {
	Server string // for messages

	conn net.Conn
	r    *bufio.Reader
	tag  int
	// untagged, if not nil, is called with each response as it arrives.
	untagged func(Response) error
}

// Response is an untagged response: the number at its beginning, if any, its keyword in upper
// case, and what follows.
type Response struct {
	Number uint32
	Name   string
	Args   []Value
	Text   string // the whole line, including literals
}

// RefusedError is a tagged NO or BAD.
type RefusedError struct{ Server, Command, Answer string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s answers %q to %q", e.Server, e.Answer, e.Command)
}

// Dial connects to an address and logs in.
func Dial(server, address, user, password string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", address, answerLimit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	c := &Client{Server: server, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if _, err = c.line(answerLimit); err != nil {
		err = fmt.Errorf("%s: no greeting: %w", server, err)
	} else {
		_, err = c.Do("LOGIN %s %s", user, password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connection without LOGOUT.
func (c *Client) Close() { c.conn.Close() }

// Do sends a command and returns the untagged responses. A NO or BAD is a *RefusedError.
func (c *Client) Do(format string, args ...any) ([]Response, error) {
	_, responses, err := c.Tagged(format, args...)
	return responses, err
}

// Tagged is Do, but also returns the text of the tagged OK.
func (c *Client) Tagged(format string, args ...any) (string, []Response, error) {
	command := fmt.Sprintf(format, args...)
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	if err := c.send(tag + " " + command + "\r\n"); err != nil {
		return "", nil, err
	}
	return c.answer(tag, command)
}

func (c *Client) send(text string) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, text)
	return err
}

func (c *Client) answer(tag, command string) (string, []Response, error) {
	if len(command) > 200 {
		command = command[:200] + "..."
	}
	var responses []Response
	for {
		line, err := c.line(answerLimit)
		if err != nil {
			return "", responses, fmt.Errorf("%s, while answering %q: %w", c.Server, command, err)
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if !strings.HasPrefix(rest, "OK") {
				return "", responses, &RefusedError{c.Server, command, rest}
			}
			return rest, responses, nil
		}
		r, err := c.take(line)
		if err != nil {
			return "", responses, fmt.Errorf("%w, while answering %q", err, command)
		}
		responses = append(responses, r)
	}
}

func (c *Client) take(line string) (Response, error) {
	r, err := parseResponse(line)
	if err != nil {
		return r, fmt.Errorf("%s sent %q: %w", c.Server, line, err)
	}
	if c.untagged != nil {
		err = c.untagged(r)
	}
	return r, err
}

// Idle waits for responses in IDLE for d and calls f with each; f can return true
// to end it earlier.
func (c *Client) Idle(d time.Duration, f func(Response) bool) error {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	if err := c.send(tag + " IDLE\r\n"); err != nil {
		return err
	}
	end := time.Now().Add(d)
	idling := false
	for {
		limit := answerLimit
		if idling {
			if limit = time.Until(end); limit <= 0 {
				break
			}
		}
		line, err := c.line(limit)
		if errors.Is(err, errQuiet) && idling {
			break
		}
		if err != nil {
			return fmt.Errorf("%s, in IDLE: %w", c.Server, err)
		}
		if strings.HasPrefix(line, "+") {
			idling = true
			continue
		}
		if strings.HasPrefix(line, tag+" ") {
			return &RefusedError{c.Server, "IDLE", line}
		}
		r, err := c.take(line)
		if err != nil {
			return err
		}
		if f != nil && f(r) {
			break
		}
	}
	if err := c.send("DONE\r\n"); err != nil {
		return err
	}
	_, rest, err := c.answer(tag, "DONE")
	for _, r := range rest {
		if f != nil {
			f(r)
		}
	}
	return err
}

// errQuiet means that nothing arrived in time. No octet is lost.
var errQuiet = errors.New("nothing came in time")

// line reads a line including its literals, without the last CRLF.
func (c *Client) line(limit time.Duration) (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	if _, err := c.r.Peek(1); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return "", fmt.Errorf("%w (%s)", errQuiet, limit)
		}
		return "", err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
		return "", err
	}
	var line strings.Builder
	for {
		part, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line.WriteString(part)
		n, ok := literalSize(part)
		if !ok {
			return strings.TrimSuffix(line.String(), "\r\n"), nil
		}
		if _, err := io.CopyN(&line, c.r, n); err != nil {
			return "", err
		}
	}
}

// literalSize parses {n} at the end of a line.
func literalSize(line string) (int64, bool) {
	head, ok := strings.CutSuffix(line, "}\r\n")
	at := strings.LastIndexByte(head, '{')
	if !ok || at < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(head[at+1:], "+"), 10, 32)
	return n, err == nil && n >= 0
}

// Value is a string in any form, or a list.
type Value struct {
	Text string
	List []Value
	Kind Kind
}

// Kind is the form of a Value.
type Kind uint8

// The forms of values. NIL is an Atom.
const (
	Atom Kind = iota
	Quoted
	List
)

// Words returns the texts of a list.
func (v Value) Words() []string {
	words := make([]string, len(v.List))
	for i, w := range v.List {
		words[i] = w.Text
	}
	return words
}

var errSyntax = errors.New("not a response by RFC 9051 section 9")

func parseResponse(line string) (Response, error) {
	r := Response{Text: line}
	rest, ok := strings.CutPrefix(line, "* ")
	if !ok {
		return r, errSyntax
	}
	word, after, _ := strings.Cut(rest, " ")
	if n, err := strconv.ParseUint(word, 10, 32); err == nil {
		r.Number = uint32(n)
		word, after, _ = strings.Cut(after, " ")
	}
	r.Name = strings.ToUpper(word)
	switch r.Name {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return r, nil // text for people follows
	}
	for after != "" {
		var v Value
		var err error
		if v, after, err = parseValue(after); err != nil {
			return r, err
		}
		r.Args = append(r.Args, v)
		after = strings.TrimPrefix(after, " ")
	}
	return r, nil
}

func parseValue(s string) (Value, string, error) {
	switch s[0] {
	case '(':
		return parseList(s[1:])
	case '"':
		var b strings.Builder
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '"':
				return Value{Text: b.String(), Kind: Quoted}, s[i+1:], nil
			case '\\':
				if i++; i == len(s) {
					return Value{}, "", errSyntax
				}
			}
			b.WriteByte(s[i])
		}
		return Value{}, "", errSyntax
	case '{':
		head, rest, ok := strings.Cut(s, "\r\n")
		n, valid := literalSize(head + "\r\n")
		if !ok || !valid || int64(len(rest)) < n {
			return Value{}, "", errSyntax
		}
		return Value{Text: rest[:n], Kind: Quoted}, rest[n:], nil
	}
	// An atom. A section in brackets may contain spaces and parentheses.
	depth, end := 0, 0
	for ; end < len(s); end++ {
		switch s[end] {
		case '[':
			depth++
		case ']':
			depth--
		case ' ', ')':
			if depth <= 0 {
				return atom(s, end)
			}
		}
	}
	return atom(s, end)
}

func atom(s string, end int) (Value, string, error) {
	if end == 0 {
		return Value{}, "", errSyntax
	}
	return Value{Text: s[:end]}, s[end:], nil
}

func parseList(s string) (Value, string, error) {
	v := Value{Kind: List, List: []Value{}}
	for {
		if s == "" {
			return v, "", errSyntax
		}
		switch s[0] {
		case ')':
			return v, s[1:], nil
		case ' ':
			s = s[1:]
		default:
			var one Value
			var err error
			if one, s, err = parseValue(s); err != nil {
				return v, s, err
			}
			v.List = append(v.List, one)
		}
	}
}

// quote returns a quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
