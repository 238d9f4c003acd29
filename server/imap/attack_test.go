package imap

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/maildir/check"
	"maildird/maildir/folder"
)

// How an attack sends its input. Any other number is the size of the pieces.
const (
	atOnce   = 0
	byLine   = 1    // waits for each answer before the next line
	vanishes = 1000 // and any larger number: all at once; the client is gone before the answer
)

// attack plays the result of Script.Played, or a mutation of it, in pieces as above. It returns
// when the server has closed the connections, and checks what the server sent and left behind.
func (v *victim) attack(t testing.TB, played string, pieces int) {
	a := &attack{victim: v, pieces: pieces, clients: map[string]*attacker{}}
	root, err := os.OpenRoot(v.root("alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a.files = root
	text := ""
	for line := range strings.SplitAfterSeq(played, "\n") {
		if line == "" || line[0] != '@' {
			text += line
			continue
		}
		a.client("1").send(text, pieces)
		text = ""
		a.deed(line[1:])
	}
	a.client("1").send(text, pieces)
	for n, c := range a.clients {
		if err := c.end(pieces); err != nil {
			t.Errorf("connection %s: %v", n, err)
		}
	}
	if said := v.log.Take(); strings.Contains(said, "panic in a session") {
		t.Fatal(said)
	}
	if !v.touched {
		a.checkFiles(t)
	}
	v.other.t = t
	v.other.ok("NOOP")
}

type attack struct {
	*victim
	pieces  int
	files   *os.Root // the Maildir of alice
	clients map[string]*attacker
}

// client returns a connection. All but the first are logged in.
func (a *attack) client(n string) *attacker {
	if c := a.clients[n]; c != nil {
		return c
	}
	conn, ended := a.pipes.Dial()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c := &attacker{Conn: conn, ended: ended, read: make(chan error, 1)}
	go func() { c.read <- readResponses(conn) }()
	if n != "1" {
		c.send("login LOGIN alice secret\r\n", byLine)
	}
	a.clients[n] = c
	return c
}

// deed performs an action outside the first connection, if it is possible.
func (a *attack) deed(line string) {
	what, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	path, more, _ := strings.Cut(rest, " ")
	if what != "2" && what != "3" {
		a.touched = true
	}
	switch what {
	case "file":
		text, err := strconv.Unquote(more)
		if err != nil || a.files.MkdirAll(filepath.Dir(path), 0o700) != nil {
			return
		}
		_ = a.files.WriteFile(path, []byte(text), 0o600)
	case "rename":
		_ = a.files.Rename(path, more)
	case "remove":
		_ = a.files.RemoveAll(path)
	case "mkdir":
		_ = a.files.Mkdir(path, 0o700)
	case "2", "3":
		a.client(what).send(rest+"\r\n", byLine)
	}
}

// checkFiles checks that the server by itself leaves a Maildir that other programs can read.
func (a *attack) checkFiles(t testing.TB) {
	for _, dir := range []string{"tmp", "*/tmp"} {
		if left, _ := filepath.Glob(filepath.Join(a.root("alice"), dir, "*")); len(left) > 0 {
			t.Error("left over:", left)
		}
	}
	_, err := check.Run(context.Background(), check.Options{
		Root:   a.root("alice"),
		Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'},
		Tell:   func(f check.Finding) { t.Error(f) },
	})
	if err != nil {
		t.Error(err)
	}
}

type attacker struct {
	net.Conn
	ended <-chan struct{} // by the server
	read  chan error      // what was wrong with the responses
}

func (c *attacker) send(text string, pieces int) {
	for len(text) > 0 {
		n := min(pieces, len(text))
		switch end := strings.IndexByte(text, '\n') + 1; {
		case pieces == atOnce || pieces >= vanishes:
			n = len(text)
		case pieces == byLine && end > 0:
			n = end
		case pieces == byLine:
			n = len(text)
		}
		if _, err := io.WriteString(c, text[:n]); err != nil {
			return // the server had enough
		}
		text = text[n:]
	}
}

// end logs out, and waits for the end of the session.
func (c *attacker) end(pieces int) error {
	if pieces < vanishes {
		// The last line is processed when everything before it is done.
		c.send("\r\nDONE\r\nend LOGOUT\r\n\r\n", byLine)
	}
	_ = c.Close()
	err := <-c.read
	select {
	case <-c.ended:
	case <-time.After(5 * time.Minute):
		err = errors.Join(err, errors.New("the session does not end"))
	}
	return err
}

var responseLine = regexp.MustCompile(`^(\*|\+|[^\x00-\x20\x7f(){%*"\\+]+) .*$`)

// readResponses reads the server's output to its end. It checks that it consists of lines and
// literals, and refers to existing messages only.
func readResponses(conn io.Reader) error {
	r := bufio.NewReader(conn)
	exists := 0
	for {
		whole, err := readResponse(r)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return fmt.Errorf("the session hangs after %q", whole)
		case err != nil && whole == "" && errors.Is(err, errNoResponse):
			return err
		case err != nil:
			return nil // the end, perhaps within a response that nobody reads
		case !responseLine.MatchString(whole):
			return fmt.Errorf("no response: %q", whole)
		case strings.HasSuffix(whole, " OK DEFLATE active."):
			r = bufio.NewReader(flate.NewReader(r))
		}
		if exists, err = follow(whole, exists); err != nil {
			return err
		}
	}
}

var numbered = regexp.MustCompile(`^\* (\d+) (EXISTS|RECENT|EXPUNGE|FETCH)\b`)

// follow returns the number of messages that the client knows after a response.
func follow(response string, exists int) (int, error) {
	if gone, ok := strings.CutPrefix(response, "* VANISHED "); ok && gone[0] != '(' {
		for part := range strings.SplitSeq(gone, ",") {
			first, last, _ := strings.Cut(part+":"+part, ":")
			last, _, _ = strings.Cut(last, ":")
			from, err := strconv.Atoi(first)
			to, err2 := strconv.Atoi(last)
			if err != nil || err2 != nil || from > to {
				return 0, fmt.Errorf("no set: %q", response)
			}
			exists -= to - from + 1
		}
		if exists < 0 {
			return 0, fmt.Errorf("%q tells of more messages than there were", response)
		}
	}
	m := numbered.FindStringSubmatch(response)
	if m == nil {
		return exists, nil
	}
	n, err := strconv.Atoi(m[1])
	switch {
	case err != nil:
		return 0, err
	case m[2] == "EXISTS":
		return n, nil
	case n > exists, n == 0 && m[2] != "RECENT":
		return 0, fmt.Errorf("%q where %d messages are known", response, exists)
	case m[2] == "EXPUNGE":
		exists--
	}
	return exists, nil
}

var (
	literalHead   = regexp.MustCompile(`\{(\d+)\}\r\n$`)
	errNoResponse = errors.New("no line")
)

// readResponse reads a response without its literals.
func readResponse(r *bufio.Reader) (string, error) {
	whole := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return whole + line, err
		}
		m := literalHead.FindStringSubmatch(line)
		if m == nil {
			text, ok := strings.CutSuffix(line, "\r\n")
			if whole += text; !ok || strings.ContainsAny(whole, "\r\n\x00") {
				return "", fmt.Errorf("%w: %q", errNoResponse, line)
			}
			return whole, nil
		}
		whole += strings.TrimSuffix(line, "\r\n")
		var n int64
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			return "", fmt.Errorf("%w: %w", errNoResponse, err)
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			return whole, err
		}
	}
}

func deflated(text string) string {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 6)
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return out.String()
}
