package dialogue

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Target is a server to play dialogues with.
type Target struct {
	// Root is the Maildir of the user in the dialogue.
	Root string
	// Dial opens a connection.
	Dial func() (net.Conn, error)
	// TLS is used for "@tls".
	TLS *tls.Config
	// Bye is sent on connections that the dialogue leaves open. The reply must begin with
	// ByeAnswer. The default is LOGOUT.
	Bye, ByeAnswer string
	// Made, if not nil, is called with the path of each file and directory that a dialogue
	// creates, for a server that runs as another user.
	Made func(path string)
	// Patience is how long an answer may take; 0 means patience.
	Patience time.Duration
}

// patience is longer than an answer takes on a slow and busy machine. In IDLE, Dovecot checks
// only every 30 s for changes without an event.
const patience = 90 * time.Second

// player is a dialogue that is being played.
type player struct {
	t       testing.TB
	script  *Script
	target  Target
	conns   map[int]*conn
	login   bool
	values  map[string]string // of placeholders
	mails   map[string]bool   // paths of messages that "@mail" has matched
	played  []string          // the lines so far, for reporting a failure
	current step
}

// conn is a connection of a dialogue.
type conn struct {
	net.Conn
	lines *bufio.Reader
	ended bool
}

// Play plays a dialogue and reports the first difference as an error of t, with the
// lines that precede it.
func Play(t testing.TB, script *Script, target Target) {
	t.Helper()
	if target.Patience == 0 {
		target.Patience = patience
	}
	if target.Bye == "" {
		target.Bye, target.ByeAnswer = "fin LOGOUT", "* BYE"
	}
	p := &player{t: t, script: script, target: target, conns: map[int]*conn{}, values: map[string]string{}, mails: map[string]bool{}}
	defer p.closeAll()
	if err := p.run(); err != nil {
		said := strings.Join(p.played[max(0, len(p.played)-40):], "\n\t")
		t.Errorf("%s:%d: %v\n\t%s", script.Name, p.current.line, err, said)
	}
}

func (p *player) closeAll() {
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *player) run() error {
	steps := p.script.steps
	for i := 0; i < len(steps); i++ {
		p.current = steps[i]
		if steps[i].kind == anyway {
			n := i
			for n < len(steps) && steps[n].kind == anyway && steps[n].conn == steps[i].conn {
				n++
			}
			if err := p.expectGroup(steps[i:n]); err != nil {
				return err
			}
			i = n - 1
			continue
		}
		if err := p.play(steps[i]); err != nil {
			return err
		}
	}
	return p.finish()
}

func (p *player) play(st step) error {
	path := func(i int) string { return filepath.Join(p.target.Root, filepath.FromSlash(st.args[i])) }
	switch st.kind {
	case login:
		p.login = true
	case putFile:
		return p.putFile(path(0), st)
	case rename:
		return errors.Join(await(path(0)), os.Rename(path(0), path(1)))
	case remove:
		return errors.Join(await(path(0)), os.RemoveAll(path(0)))
	case mkdir:
		err := os.Mkdir(path(0), 0o700)
		p.made(path(0))
		return err
	case send:
		return p.send(st)
	case expect:
		return p.expect(st)
	case closed:
		return p.expectEnd(st)
	case secure:
		return p.secure(st)
	case mail:
		return p.expectMail(path(0), st)
	case noMail:
		if found := p.newMail(path(0)); len(found) > 0 {
			return fmt.Errorf("there is mail: %s", found[0])
		}
	}
	return nil
}

func (p *player) made(path string) {
	if p.target.Made != nil {
		p.target.Made(path)
	}
}

// putFile creates a message by a rename, as Maildir programs do.
func (p *player) putFile(path string, st step) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(dir), "tmp", filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(tmp)); err != nil {
		tmp = path
	}
	if err := os.WriteFile(tmp, []byte(st.text), 0o600); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, st.when, st.when); err != nil {
		return err
	}
	p.made(tmp)
	return os.Rename(tmp, path)
}

// conn returns a connection. It opens it on first use.
func (p *player) conn(n int) (*conn, error) {
	if c := p.conns[n]; c != nil {
		return c, nil
	}
	nc, err := p.target.Dial()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, lines: bufio.NewReaderSize(nc, 1<<20)}
	p.conns[n] = c
	if !p.login {
		return c, nil
	}
	if _, err := p.readLine(c); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "login LOGIN %q %q\r\n", p.script.User, p.script.Password); err != nil {
		return nil, err
	}
	answer, err := p.readLine(c)
	if err == nil && !strings.HasPrefix(answer, "login OK ") {
		err = fmt.Errorf("login failed: %s", answer)
	}
	return c, err
}

func (p *player) send(st step) error {
	c, err := p.conn(st.conn)
	if err != nil {
		return err
	}
	text := p.substitute(st.text)
	p.played = append(p.played, fmt.Sprintf("C%d: %.2000q", st.conn, text))
	_ = c.SetWriteDeadline(time.Now().Add(p.target.Patience))
	_, err = c.Write([]byte(text))
	return err
}

var placeholder = regexp.MustCompile(`<([a-z]+|\*)>`)

// substitute replaces placeholders by their values.
func (p *player) substitute(text string) string {
	text = strings.ReplaceAll(text, "$user", p.script.User)
	text = strings.ReplaceAll(text, "$password", p.script.Password)
	return placeholder.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := p.values[m]; ok {
			return v
		}
		return m
	})
}

func (p *player) readLine(c *conn) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(p.target.Patience))
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("server said %q, then: %w", line, err)
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("line does not end with CRLF: %q", line)
	}
	return text, nil
}

// passedOver are beginnings of lines that a dialogue need not contain: those that every SELECT
// has because of OBJECTID (RFC 8474), URLAUTH (RFC 4467) and CONDSTORE (RFC 7162), and those of
// any command on a slow machine (RFC 9585).
var passedOver = []string{"* OK [MAILBOXID (", "* OK [URLMECH ", "* OK [HIGHESTMODSEQ ", "* OK [NOMODSEQ]", "* OK [INPROGRESS ("}

// readAnswer reads a line. It skips lines that a dialogue need not contain, unless a
// pattern is for them.
func (p *player) readAnswer(c *conn, patterns ...string) (string, error) {
	line, err := p.readLine(c)
	for err == nil && slices.ContainsFunc(passedOver, func(begin string) bool {
		return strings.HasPrefix(line, begin) && !slices.ContainsFunc(patterns, func(s string) bool { return strings.HasPrefix(s, begin) })
	}) {
		line, err = p.readLine(c)
	}
	return line, err
}

func (p *player) expect(st step) error {
	c, err := p.conn(st.conn)
	if err != nil {
		return err
	}
	line, err := p.readAnswer(c, st.text)
	if err != nil {
		return fmt.Errorf("expected %q, but %w", st.text, err)
	}
	p.played = append(p.played, fmt.Sprintf("S%d: %.2000q", st.conn, line))
	if !p.match(st.text, line) {
		return fmt.Errorf("expected %q, got %q", p.substitute(st.text), line)
	}
	return nil
}

// expectGroup reads as many lines as there are patterns. Each must match a different one.
func (p *player) expectGroup(group []step) error {
	c, err := p.conn(group[0].conn)
	if err != nil {
		return err
	}
	left := make([]string, 0, len(group))
	for _, st := range group {
		left = append(left, st.text)
	}
	for range group {
		line, err := p.readAnswer(c, left...)
		if err != nil {
			return fmt.Errorf("expected one of %q, but %w", left, err)
		}
		p.played = append(p.played, fmt.Sprintf("S%d: %.2000q", group[0].conn, line))
		found := -1
		for i, pattern := range left {
			if p.match(pattern, line) {
				found = i
				break
			}
		}
		if found < 0 {
			return fmt.Errorf("expected one of %q, got %q", left, line)
		}
		left = append(left[:found], left[found+1:]...)
	}
	return nil
}

// match compares a line with a pattern, and sets the values of new placeholders.
func (p *player) match(pattern, line string) bool {
	// Treat octets as characters, to compare what is not UTF-8 as well.
	pattern, line = characters(p.substitute(pattern)), characters(line)
	var re strings.Builder
	var names []string
	re.WriteString(`(?s)^`)
	at := 0
	seen := map[string]bool{}
	for _, m := range placeholder.FindAllStringIndex(pattern, -1) {
		re.WriteString(regexp.QuoteMeta(pattern[at:m[0]]))
		at = m[1]
		name := pattern[m[0]:m[1]]
		if name == "<*>" {
			re.WriteString(`.*`)
			continue
		}
		if seen[name] {
			return false // would need a back reference; write two lines
		}
		seen[name] = true
		names = append(names, name)
		re.WriteString(`([^\s()\[\]"]+)`)
	}
	re.WriteString(regexp.QuoteMeta(pattern[at:]) + `$`)
	m := regexp.MustCompile(re.String()).FindStringSubmatch(line)
	if m == nil {
		return false
	}
	for i, name := range names {
		p.values[name] = octets(m[i+1])
	}
	return true
}

// characters converts each octet to a character.
func characters(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// octets undoes characters.
func octets(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func (p *player) expectEnd(st step) error {
	c, err := p.conn(st.conn)
	if err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(p.target.Patience))
	rest, err := c.lines.ReadString('\n')
	if rest != "" {
		return fmt.Errorf("expected the end of the connection, got %q", rest)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return fmt.Errorf("the connection is still open")
	}
	c.ended = true
	return nil
}

// finish checks that the server sent nothing that is not in the dialogue.
func (p *player) finish() error {
	for n, c := range p.conns {
		if c.ended {
			continue
		}
		if _, err := c.Write([]byte(p.target.Bye + "\r\n")); err != nil {
			return err
		}
		line, err := p.readLine(c)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, p.target.ByeAnswer) && !strings.HasPrefix(line, "fin ") {
			return fmt.Errorf("connection %d got a line that the dialogue does not have: %q", n, line)
		}
	}
	return nil
}

// await waits until a file exists: the server moves mail to cur/ shortly after reporting it.
func await(path string) error {
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := os.Lstat(path)
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
