package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer is the response of a server in a form that is equal for equivalent responses: one line
// per message, in order.
type answer struct{ lines []string }

// difference describes the first difference between two answers, "" if there is none.
func (a *answer) difference(b *answer) string {
	if a == nil || b == nil {
		return ""
	}
	for i := range min(len(a.lines), len(b.lines)) {
		if a.lines[i] != b.lines[i] {
			return fmt.Sprintf("message %d:\n  %.600s\n  %.600s", i+1, a.lines[i], b.lines[i])
		}
	}
	if len(a.lines) != len(b.lines) {
		return fmt.Sprintf("%d messages and %d", len(a.lines), len(b.lines))
	}
	return ""
}

// fetched converts FETCH responses to that form: items are sorted by name, flags are sorted and
// without \Recent, quoted strings and literals look alike, and long ones are replaced by their
// digest. With fold, case is ignored.
func fetched(data []byte, fold bool) (*answer, error) {
	a := new(answer)
	for p := (parser{data: data}); len(p.data) > 0; {
		line, ok, err := p.response()
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if fold {
			line = strings.ToLower(line)
		}
		a.lines = append(a.lines, line)
	}
	return a, nil
}

// parser parses responses of a server that is trusted to send valid ones.
type parser struct{ data []byte }

var errSyntax = errors.New("a response that cannot be read")

// response reads an untagged response; ok reports whether it was a FETCH response.
func (p *parser) response() (line string, ok bool, err error) {
	head, rest, found := bytes.Cut(p.data, []byte(" FETCH ("))
	if !found || bytes.ContainsAny(head, "\r\n") {
		_, p.data, _ = bytes.Cut(p.data, []byte("\n"))
		return "", false, nil
	}
	p.data = rest
	var items []string
	for !p.take(')') {
		p.take(' ')
		name := p.itemName()
		if !p.take(' ') {
			return "", false, fmt.Errorf("%w: %.80q", errSyntax, p.data)
		}
		value, err := p.value(name == "FLAGS")
		if err != nil {
			return "", false, err
		}
		if name == "INTERNALDATE" {
			value = instant(value)
		}
		items = append(items, name+" "+value)
	}
	if !bytes.HasPrefix(p.data, []byte("\r\n")) {
		return "", false, fmt.Errorf("%w: %.80q", errSyntax, p.data)
	}
	p.data = p.data[2:]
	slices.Sort(items)
	return string(head) + " " + strings.Join(items, " "), true, nil
}

func (p *parser) take(c byte) bool {
	if len(p.data) > 0 && p.data[0] == c {
		p.data = p.data[1:]
		return true
	}
	return false
}

// itemName reads a name such as FLAGS or BODY[HEADER.FIELDS (FROM TO)]. It omits the list of
// fields, which servers may return in any order.
func (p *parser) itemName() string {
	end := bytes.IndexAny(p.data, " [")
	if end < 0 {
		end = len(p.data)
	} else if p.data[end] == '[' {
		if close := bytes.IndexByte(p.data, ']'); close > 0 {
			end = close + 1
		}
	}
	name := strings.ToUpper(string(p.data[:end]))
	p.data = p.data[end:]
	name, _, _ = strings.Cut(name, " (")
	return name
}

// value reads a string, number, atom or list.
func (p *parser) value(sorted bool) (string, error) {
	switch {
	case p.take('('):
		var all []string
		for !p.take(')') {
			p.take(' ')
			v, err := p.value(false)
			if err != nil {
				return "", err
			}
			if !sorted || !strings.EqualFold(v, `\Recent`) {
				all = append(all, v)
			}
		}
		if sorted {
			slices.Sort(all)
		}
		return "(" + strings.Join(all, " ") + ")", nil
	case p.take('"'):
		return p.quoted()
	case len(p.data) > 0 && (p.data[0] == '{' || p.data[0] == '~'):
		return p.literal()
	}
	end := bytes.IndexAny(p.data, " ()\r")
	if end <= 0 {
		return "", fmt.Errorf("%w: %.80q", errSyntax, p.data)
	}
	v := string(p.data[:end])
	p.data = p.data[end:]
	return v, nil
}

func (p *parser) quoted() (string, error) {
	var b []byte
	for i := 0; i < len(p.data); i++ {
		switch p.data[i] {
		case '\\':
			i++
		case '"':
			p.data = p.data[i+1:]
			return text(b), nil
		}
		if i < len(p.data) {
			b = append(b, p.data[i])
		}
	}
	return "", errSyntax
}

func (p *parser) literal() (string, error) {
	p.take('~')
	head, rest, ok := bytes.Cut(p.data, []byte("}\r\n"))
	n, err := strconv.Atoi(strings.TrimPrefix(string(head), "{"))
	if !ok || err != nil || n > len(rest) {
		return "", errSyntax
	}
	p.data = rest[n:]
	return text(rest[:n]), nil
}

// text renders a string; long ones by their digest.
func text(b []byte) string {
	if len(b) <= 2000 {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%.80q... %d octets, sha256 %x", b, len(b), sha256.Sum256(b))
}

// instant converts a date to UTC.
func instant(quoted string) string {
	s, _ := strconv.Unquote(quoted)
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		return quoted
	}
	return t.UTC().Format(time.RFC3339)
}
