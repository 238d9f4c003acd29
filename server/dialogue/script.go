// Package dialogue plays the IMAP and SMTP dialogues in testdata/imap and testdata/smtp with a
// server, and checks its answers. The server may be in the same process, the real binary, or
// another program that serves the same kind of Maildir. The package is for tests.
//
// A dialogue is a text file. Its lines:
//
//	# text              a comment
//	@user NAME PASSWORD who dialogues log in as; "$user" and "$password" below
//	@option KEY VALUE   a setting that the server needs, see Script.Options
//	@ours REASON        no other server is compared with this dialogue
//	@file PATH [DATE]   makes a file below the Maildir, with that time; its
//	                    content follows, each line after "| ", ended by LF
//	@rename PATH PATH   renames a file or directory, @remove PATH removes it,
//	                    @mkdir PATH makes a directory
//	@tls [N]            connection N (1 if left out) does a TLS handshake
//	@mail DIR           a message is in DIR below the Maildir that was not there
//	                    before; the patterns of its lines follow, each after
//	                    "| ", or "+ " for a last line that does not end in LF
//	@nomail DIR         there is none
//	@login              every connection opened from here on is logged in, and
//	                    the greeting taken, before its first line is played
//	C: text             the client sends the line, with CRLF
//	C+ text             the client sends the text as it is
//	C" "text"           the client sends the text, written as a Go string
//	S: pattern          the server sends a line
//	S" "pattern"        the same, written as a Go string, of one line or more
//	S. end              the server closes the connection
//	S| pattern          lines of the server that may come in any order: all
//	                    such lines in a row are one group
//
// "C2:" and "S2:" are for a second connection, and so on. In patterns <name>
// stands for a text without space, parenthesis, bracket or quote, the same one
// each time and also in what the client sends later; <*> stands for any text.
package dialogue

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Script is a dialogue that was read from a file.
type Script struct {
	Name           string
	User, Password string
	// Options are the settings that the server must have, such as "rev2": "no".
	Options map[string]string
	// Ours says why no other server is compared with this dialogue; "" if others are.
	Ours  string
	steps []step
}

// kind is the kind of a step.
type kind int

const (
	send    kind = iota // text sent on a connection
	expect              // a line from a connection
	anyway              // a line of an unordered group
	closed              // the end of a connection
	login               // applies to connections opened later
	putFile             // args: path, content
	rename
	remove
	mkdir
	secure // conn: starts TLS
	mail   // args: directory; text: patterns of the lines
	noMail
)

// step is a line of a dialogue, or several lines that belong together.
type step struct {
	kind kind
	line int // in the file
	conn int
	text string
	args []string
	when time.Time
}

var clientLine = regexp.MustCompile(`^C(\d*)([:+"])(?: (.*))?$`)
var serverLine = regexp.MustCompile(`^S(\d*)([:.|"])(?: (.*))?$`)

// Parse reads a dialogue from a file. Errors contain the line number.
func Parse(path string) (*Script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &Script{Name: path, User: "alice", Password: "secret", Options: map[string]string{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if err := s.parseLine(n, lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return s, lines.Err()
}

func (s *Script) parseLine(n int, line string) error {
	switch {
	case strings.TrimSpace(line) == "", line[0] == '#':
		return nil
	case line[0] == '@':
		return s.parseSetting(n, line)
	case line[0] == '|', line[0] == '+':
		return s.parseContent(line)
	}
	if m := clientLine.FindStringSubmatch(line); m != nil {
		st := step{kind: send, line: n, conn: number(m[1]), text: m[3]}
		switch m[2] {
		case ":":
			st.text += "\r\n"
		case `"`:
			text, err := strconv.Unquote(m[3])
			if err != nil {
				return fmt.Errorf("not a Go string: %s", m[3])
			}
			st.text = text
		}
		s.steps = append(s.steps, st)
		return nil
	}
	if m := serverLine.FindStringSubmatch(line); m != nil {
		if m[2] == `"` {
			text, err := strconv.Unquote(m[3])
			if err != nil {
				return fmt.Errorf("not a Go string: %s", m[3])
			}
			for line := range strings.SplitSeq(text, "\r\n") {
				s.steps = append(s.steps, step{kind: expect, line: n, conn: number(m[1]), text: line})
			}
			return nil
		}
		k := map[string]kind{":": expect, ".": closed, "|": anyway}[m[2]]
		s.steps = append(s.steps, step{kind: k, line: n, conn: number(m[1]), text: m[3]})
		return nil
	}
	return fmt.Errorf("not understood: %s", line)
}

func number(digits string) int {
	if digits == "" {
		return 1
	}
	n, _ := strconv.Atoi(digits)
	return n
}

func (s *Script) parseSetting(n int, line string) error {
	if reason, ok := strings.CutPrefix(line, "@ours "); ok {
		s.Ours = reason
		return nil
	}
	words := strings.Fields(line)
	args := words[1:]
	want := map[string][2]int{"@user": {2, 2}, "@option": {2, 2}, "@login": {0, 0}, "@file": {1, 2}, "@rename": {2, 2}, "@remove": {1, 1}, "@mkdir": {1, 1},
		"@tls": {0, 1}, "@mail": {1, 1}, "@nomail": {1, 1}}
	count, ok := want[words[0]]
	if !ok || len(args) < count[0] || len(args) > count[1] {
		return fmt.Errorf("not understood: %s", line)
	}
	st := step{line: n, args: args}
	switch words[0] {
	case "@user":
		s.User, s.Password = args[0], args[1]
		return nil
	case "@option":
		s.Options[args[0]] = args[1]
		return nil
	case "@login":
		st.kind = login
	case "@file":
		st.kind = putFile
		st.when = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
		if len(args) == 2 {
			when, err := time.Parse(time.RFC3339, args[1])
			if err != nil {
				return err
			}
			st.when = when
		}
	case "@rename":
		st.kind = rename
	case "@remove":
		st.kind = remove
	case "@mkdir":
		st.kind = mkdir
	case "@tls":
		st.kind = secure
		st.conn = number(strings.Join(args, ""))
	case "@mail":
		st.kind = mail
	case "@nomail":
		st.kind = noMail
	}
	s.steps = append(s.steps, st)
	return nil
}

func (s *Script) parseContent(line string) error {
	if n := len(s.steps); n == 0 || s.steps[n-1].kind != putFile && s.steps[n-1].kind != mail {
		return fmt.Errorf("content without @file or @mail: %s", line)
	}
	text := strings.TrimPrefix(line[1:], " ")
	if line[0] == '|' {
		text += "\n"
	}
	s.steps[len(s.steps)-1].text += text
	return nil
}

// Sent returns everything that the client sends over its first connection, as a
// seed for a fuzzer.
func (s *Script) Sent() string {
	var all strings.Builder
	for _, st := range s.steps {
		if st.kind == send && st.conn == 1 {
			all.WriteString(s.named(st.text))
		}
	}
	return all.String()
}

// named replaces the names that a dialogue may use for its user.
func (s *Script) named(text string) string {
	return strings.NewReplacer("$user", s.User, "$password", s.Password).Replace(text)
}

// Played is Sent with the other steps: a line "@file PATH TEXT" with the text as a Go string,
// "@rename PATH PATH", "@remove PATH" or "@mkdir PATH" for each change of the files, and "@N
// TEXT" for a line that is sent over connection N.
func (s *Script) Played() string {
	var all strings.Builder
	for _, st := range s.steps {
		switch st.kind {
		case send:
			if st.conn != 1 {
				fmt.Fprintf(&all, "@%d ", st.conn)
			}
			all.WriteString(s.named(st.text))
		case putFile:
			fmt.Fprintf(&all, "@file %s %q\r\n", st.args[0], st.text)
		case rename:
			fmt.Fprintf(&all, "@rename %s %s\r\n", st.args[0], st.args[1])
		case remove:
			fmt.Fprintf(&all, "@remove %s\r\n", st.args[0])
		case mkdir:
			fmt.Fprintf(&all, "@mkdir %s\r\n", st.args[0])
		}
	}
	return all.String()
}
