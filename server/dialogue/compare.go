package dialogue

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Difference is a command of a dialogue that another server answers differently.
type Difference struct {
	Tag       string // of the command
	Line      int    // line of the dialogue where the answer begins
	Want, Got []string
}

func (d Difference) String() string {
	return fmt.Sprintf("line %d, %s:\n\texpected %s\n\tgot      %s", d.Line, d.Tag,
		strings.Join(d.Want, "\n\t         "), strings.Join(d.Got, "\n\t         "))
}

// Compare plays a dialogue with another server and returns where its answers differ. It
// ignores what the protocol leaves open: texts for users, the order of untagged responses,
// of flags, and of the items of FETCH and STATUS, whether a string is quoted, and
// unsolicited responses of extensions.
func Compare(t testing.TB, script *Script, target Target) []Difference {
	t.Helper()
	if target.Patience == 0 {
		target.Patience = patience
	}
	c := &comparer{player: player{t: t, script: script, target: target, conns: map[int]*conn{}, values: map[string]string{}}, sent: map[int]string{}}
	defer c.closeAll()
	if err := c.run(); err != nil {
		c.found = append(c.found, Difference{Tag: c.tag(c.current, nil), Line: c.current.line, Got: []string{err.Error()}})
	}
	return c.found
}

// comparer plays a dialogue and continues after a different answer.
type comparer struct {
	player
	sent  map[int]string // the last line of each connection
	found []Difference
}

func (c *comparer) run() error {
	steps := c.script.steps
	for i := 0; i < len(steps); i++ {
		st := steps[i]
		c.current = st
		if st.kind == send {
			c.sent[st.conn] = st.text
		}
		if !st.answer() {
			if err := c.play(st); err != nil {
				return err
			}
			continue
		}
		n := i
		for n < len(steps) && steps[n].answer() && steps[n].conn == st.conn {
			n++
		}
		if err := c.block(steps[i:n]); err != nil {
			return err
		}
		i = n - 1
	}
	return nil
}

// answer reports whether a step is output of the server.
func (st step) answer() bool { return st.kind == expect || st.kind == anyway || st.kind == closed }

// tag returns the tag of the command that is answered.
func (c *comparer) tag(st step, want []string) string {
	for _, w := range want {
		if word, _, _ := strings.Cut(w, " "); word != "*" && word != "+" {
			return word
		}
	}
	word, _, _ := strings.Cut(strings.TrimSpace(c.sent[st.conn]), " ")
	if word == "" {
		return "greeting"
	}
	return word
}

// block compares the output of the server up to the next step of the client.
func (c *comparer) block(steps []step) error {
	nc, err := c.conn(steps[0].conn)
	if err != nil {
		return err
	}
	var want []string
	end := false
	for _, st := range steps {
		if st.kind == closed {
			end = true
		} else {
			want = append(want, c.substitute(st.text))
		}
	}
	want = joinLiterals(want)
	got, err := c.collect(nc, want, end)
	lackWant, lackGot := c.compare(want, got)
	if len(lackWant)+len(lackGot) > 0 || err != nil {
		if err != nil {
			lackGot = append(lackGot, err.Error())
		}
		c.found = append(c.found, Difference{c.tag(steps[0], want), steps[0].line, lackWant, lackGot})
	}
	if err != nil {
		return fmt.Errorf("the dialogue could not go on: %w", err)
	}
	return nil
}

// joinLiterals joins lines that are part of the same literal.
func joinLiterals(lines []string) (out []string) {
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		for n := literalAt(line); n >= 0 && i+1 < len(lines); n = literalAt(line) {
			from := len(line) + 2
			for len(line) < from+n && i+1 < len(lines) {
				i++
				line += "\r\n" + lines[i]
			}
			if len(line) == from+n { // the rest is on the next line
				break
			}
		}
		out = append(out, line)
	}
	return out
}

var literalEnd = regexp.MustCompile(`~?\{(\d+)\}$`)

func literalAt(line string) int {
	m := literalEnd.FindStringSubmatch(line)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}

// collect reads the output of the server: up to the tagged responses of the dialogue or,
// without any, as many lines as the dialogue has.
func (c *comparer) collect(nc *conn, want []string, end bool) (got []string, err error) {
	open := map[string]bool{}
	for _, w := range want {
		if word, _, _ := strings.Cut(w, " "); word != "*" {
			open[word] = true
		}
	}
	// In IDLE, untagged responses may follow the last tagged one.
	count := 0
	if n := len(want); n > 0 && strings.HasPrefix(want[n-1], "* ") {
		count = n
	}
	for len(open) > 0 || countKnown(got) < count {
		line, err := c.readResponse(nc)
		if err != nil {
			return got, err
		}
		got = append(got, line)
		word, _, _ := strings.Cut(line, " ")
		if word == "+" && !open["+"] {
			return got, fmt.Errorf("the server waits for more")
		}
		delete(open, word)
	}
	if !end {
		return got, nil
	}
	for {
		line, err := c.readResponse(nc)
		if err != nil {
			nc.ended = true
			if strings.Contains(err.Error(), "timeout") {
				return got, fmt.Errorf("the connection is still open")
			}
			return got, nil
		}
		got = append(got, line)
	}
}

func countKnown(lines []string) (n int) {
	for _, line := range lines {
		if !extra(line) {
			n++
		}
	}
	return n
}

// readResponse reads a line, including its literals and what follows them.
func (c *comparer) readResponse(nc *conn) (string, error) {
	whole := ""
	for {
		line, err := c.readLine(nc)
		whole += line
		n := literalAt(line)
		if err != nil || n < 0 {
			return whole, err
		}
		octets := make([]byte, n)
		if _, err := io.ReadFull(nc.lines, octets); err != nil {
			return whole, err
		}
		whole += "\r\n" + string(octets)
	}
}

// extra reports whether a response belongs to an extension that the dialogue need not mention.
func extra(line string) bool {
	return strings.HasPrefix(line, "* OK [HIGHESTMODSEQ ") || strings.HasPrefix(line, "* OK [NOMODSEQ]")
}

// compare pairs the lines, and returns those without a partner.
func (c *comparer) compare(want, got []string) (lackWant, lackGot []string) {
	left := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(left, func(g string) bool { return c.same(w, g) })
		if i < 0 {
			lackWant = append(lackWant, w)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	return lackWant, slices.DeleteFunc(left, extra)
}

// same reports whether two responses have the same meaning.
func (c *comparer) same(want, got string) bool {
	want, got = c.substitute(withoutText(want)), withoutText(got)
	if code := statusCode(want); code == "" || optionalCode[code] && statusCode(got) == "" {
		want, got = withoutCode(want), withoutCode(got)
	}
	return c.match(want, got) || c.sameNodes(parseNodes(want), parseNodes(got))
}

var statusLine = regexp.MustCompile(`^(\S+) (OK|NO|BAD|BYE|PREAUTH)( \[[^\]]*\])?`)

// withoutText removes the text for users.
func withoutText(line string) string {
	if strings.HasPrefix(line, "+") {
		return "+"
	}
	if m := statusLine.FindString(line); m != "" {
		return m
	}
	return line
}

// statusCode returns the name of the response code of a status response.
func statusCode(line string) string {
	m := statusLine.FindStringSubmatch(line)
	if m == nil || m[3] == "" {
		return ""
	}
	code, _, _ := strings.Cut(strings.Trim(m[3], " []"), " ")
	return code
}

// withoutCode removes the response code. A dialogue without a code accepts any.
func withoutCode(line string) string {
	if m := statusLine.FindStringSubmatch(line); m != nil {
		return m[1] + " " + m[2]
	}
	return line
}

// optionalCode are the codes of RFC 5530, which a server may omit.
var optionalCode = map[string]bool{
	"UNAVAILABLE": true, "AUTHENTICATIONFAILED": true, "AUTHORIZATIONFAILED": true, "EXPIRED": true,
	"PRIVACYREQUIRED": true, "CONTACTADMIN": true, "NOPERM": true, "INUSE": true, "EXPUNGEISSUED": true,
	"CORRUPTION": true, "SERVERBUG": true, "CLIENTBUG": true, "CANNOT": true, "LIMIT": true, "OVERQUOTA": true,
	"ALREADYEXISTS": true, "NONEXISTENT": true,
}
