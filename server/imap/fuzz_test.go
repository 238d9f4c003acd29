package imap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"maildird/server/imap/imaptest"
)

// victim is a live server that hostile sessions are thrown at.
type victim struct {
	*testServer
	socket string
	other  *testClient // a good client, which must not notice anything
}

func newVictim(t testing.TB) *victim {
	ts := startServer(t)
	v := &victim{testServer: ts, socket: filepath.Join(t.TempDir(), "imap.sock")}
	l, err := net.Listen("unix", v.socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = ts.Serve(l, false) }()
	v.other = ts.dial()
	v.other.line()
	v.other.ok("LOGIN bob secret")
	v.other.ok("SELECT INBOX")
	return v
}

// fill makes the Maildir of alice anew, with some messages.
func (v *victim) fill(t testing.TB) {
	root := v.root("alice")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := v.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"Subject: one\n\nfirst\n", clientMail, "\n", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n"} {
		name := fmt.Sprintf("170693310%d.M1P1.test:2,S", i)
		if err := os.WriteFile(filepath.Join(root, "cur", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// attack sends octets in pieces of the given size (0: at once), then ends its
// side. It returns when the server has ended the connection.
func (v *victim) attack(t testing.TB, sent string, piece int) {
	conn, err := net.Dial("unix", v.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	done := make(chan error, 1)
	go func() { done <- readResponses(conn) }()
	for len(sent) > 0 {
		n := len(sent)
		if piece > 0 {
			n = min(n, piece)
		}
		if _, err := io.WriteString(conn, sent[:n]); err != nil {
			break // it had enough
		}
		sent = sent[n:]
	}
	_ = conn.(*net.UnixConn).CloseWrite()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if said := v.log.Take(); strings.Contains(said, "panic in a session") {
		t.Fatal(said)
	}
	v.other.t = t
	v.other.ok("NOOP")
}

var responseLine = regexp.MustCompile(`^(\*|\+|[^\x00-\x20\x7f(){%*"\\+]+) .*$`)

// readResponses reads what the server says up to its end, and makes sure that
// it is made of lines and literals.
func readResponses(conn net.Conn) error {
	r := bufio.NewReader(conn)
	for {
		whole, err := readResponse(r)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return fmt.Errorf("the session hangs after %q", whole)
		case err != nil:
			return nil // the end, maybe in the middle of what nobody reads
		case !responseLine.MatchString(whole):
			return fmt.Errorf("no response: %q", whole)
		}
	}
}

var literalHead = regexp.MustCompile(`\{(\d+)\}\r\n$`)

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
				return "", fmt.Errorf("%q is no line", line)
			}
			return whole, nil
		}
		whole += strings.TrimSuffix(line, "\r\n")
		var n int64
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			return "", err
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			return whole, err
		}
	}
}

// loggedInDialogue is what a dialogue's client sends, with a login if it needs
// one.
func loggedInDialogue(s *imaptest.Script) string {
	sent := s.Sent()
	if !strings.Contains(strings.ToUpper(sent), "LOGIN ") && !strings.Contains(strings.ToUpper(sent), "AUTHENTICATE ") {
		sent = "login LOGIN alice secret\r\n" + sent
	}
	return sent
}

// FuzzSession throws octets at a live server. It goes on to serve others, says
// nothing but responses, and ends the session when the client is done.
func FuzzSession(f *testing.F) {
	files, err := filepath.Glob("../../testdata/imap/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no dialogues", err)
	}
	for i, file := range files {
		script, err := imaptest.Parse(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(loggedInDialogue(script), uint16(i%3*7))
	}
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, sent string, piece uint16) {
		v.fill(t)
		v.attack(t, sent, int(piece))
	})
}

// TestMutatedDialogues throws dialogues at the server in which octets, words
// and lines were changed, in the same way each time.
func TestMutatedDialogues(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	random := rand.New(rand.NewPCG(1, 2))
	var lines []string
	all := scripts(t)
	for _, s := range all {
		lines = append(lines, strings.SplitAfter(s.Sent(), "\r\n")...)
	}
	for round := range 2 {
		for _, s := range all {
			if round == 0 || random.IntN(4) == 0 {
				v.fill(t)
			}
			sent := mutate(random, loggedInDialogue(s), lines)
			v.attack(t, sent, random.IntN(2)*random.IntN(40))
			if t.Failed() {
				t.Fatalf("after a mutation of %s:\n%q", s.Name, sent)
			}
		}
	}
}

// mutate changes some places of what a client sends.
func mutate(random *rand.Rand, sent string, lines []string) string {
	parts := strings.SplitAfter(sent, "\r\n")
	for range 1 + random.IntN(6) {
		i := random.IntN(len(parts))
		line := []byte(parts[i])
		switch at := random.IntN(len(line) + 1); random.IntN(8) {
		case 0:
			line = append(line[:at:at], append([]byte{byte(random.IntN(256))}, line[at:]...)...)
		case 1:
			if at < len(line) {
				line[at] = byte(random.IntN(256))
			}
		case 2:
			line = line[:at]
		case 3:
			line = append(line[:at:at], append([]byte(strings.Repeat(string(`("{*:,`[random.IntN(6)]), 1+random.IntN(200))), line[at:]...)...)
		case 4:
			line = append(line[:at:at], append([]byte(fmt.Sprintf("{%d+}\r\n", random.IntN(30))), line[at:]...)...)
		case 5:
			line = append(line, lines[random.IntN(len(lines))]...)
		case 6:
			line = append(line[:at:at], append([]byte(fmt.Sprint(random.Uint64())), line[at:]...)...)
		case 7:
			line = nil
		}
		parts[i] = string(line)
	}
	return strings.Join(parts, "")
}
