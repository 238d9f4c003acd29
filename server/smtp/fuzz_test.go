package smtp

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"maildird/server/dialogue"
	"maildird/server/servertest"
)

var replyLine = regexp.MustCompile(`^[2345][0-9][0-9][ -][ -~]*$`)

// FuzzSession sends input to servers of all kinds: all at once, line by line, or in pieces of
// some size. They must send valid replies and not panic. Acknowledged messages must be in the
// Maildir, and nothing else may be left on disk.
func FuzzSession(f *testing.F) {
	files, err := filepath.Glob("../../testdata/smtp/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no dialogues", err)
	}
	for _, file := range files {
		script, err := dialogue.Parse(file)
		if err != nil {
			f.Fatal(err)
		}
		kind := map[string]Kind{"": MX, "mx": MX, "lmtp": LMTP, "submission": Submission}[script.Options["kind"]]
		for _, piece := range []uint16{0, 1, 7} {
			f.Add([]byte(script.Sent()), uint8(kind), piece)
		}
	}
	cert, _ := servertest.Certificate(f)
	var servers []*testServer
	var listeners []*servertest.Pipes
	for _, kind := range []Kind{MX, Submission, LMTP} {
		ts := startServer(f, kind, withTLS(cert), func(c *Config) {
			c.Log = nil
			c.setDefaults()
			c.Limits.Message = 20_000
			c.Limits.Line = 2_000
			// The input may end in the middle of a command.
			c.Timeouts = Timeouts{Command: 50 * time.Millisecond, TLS: 50 * time.Millisecond, Tarpit: time.Nanosecond}
			c.setDefaults()
		})
		l := servertest.NewPipes()
		ts.listen(l, false)
		f.Cleanup(func() { _ = l.Close() })
		servers, listeners = append(servers, ts), append(listeners, l)
	}
	f.Fuzz(func(t *testing.T, sent []byte, kind uint8, piece uint16) {
		if len(sent) > 32<<10 {
			return // the go command limits an input to 10 s, also on a busy machine
		}
		ts := servers[int(kind)%len(servers)]
		client, _ := listeners[int(kind)%len(servers)].Dial()
		go func() {
			for len(sent) > 0 {
				n := min(int(piece), len(sent))
				switch end := bytes.IndexByte(sent, '\n') + 1; {
				case piece == 0:
					n = len(sent)
				case piece == 1 && end > 0:
					n = end // wait for the reply before the next line
				}
				if _, err := client.Write(sent[:n]); err != nil {
					return
				}
				sent = sent[n:]
			}
			_, _ = io.WriteString(client, "\r\n.\r\nRSET\r\nQUIT\r\n")
		}()
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Minute))
		got, err := io.ReadAll(client)
		if err != nil {
			t.Fatalf("no end: %v after %.2000q", err, got)
		}
		_ = client.Close()
		acknowledged := checkReplies(t, string(got))
		eventually(t, "the session ends", func() bool { return ts.connections() == 0 })
		if n := ts.log.Panics(); n != 0 {
			t.Fatal("a fault of the program")
		}
		ts.checkFiles(t, acknowledged)
	})
}

// checkReplies returns the number of acknowledged messages.
func checkReplies(t *testing.T, got string) int {
	stored := 0
	for line := range strings.Lines(got) {
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok && strings.Contains(got, "Begin TLS") {
			continue // TLS has begun
		}
		if !ok || !replyLine.MatchString(text) && text != "" {
			if strings.Contains(got, "Begin TLS") {
				continue
			}
			t.Fatalf("not a reply: %q", line)
		}
		if strings.HasPrefix(text, "250 ") && strings.Contains(text, "Stored as ") {
			stored++
		}
	}
	return stored
}

// checkFiles checks the Maildirs and empties them.
func (ts *testServer) checkFiles(t *testing.T, acknowledged int) {
	paths, err := filepath.Glob(filepath.Join(ts.home, "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), "dovecot") {
			continue
		}
		if filepath.Base(filepath.Dir(path)) != "new" {
			t.Fatal("left over:", path)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), "Return-Path: <") {
			t.Fatalf("%s: %v %.100q", path, err, text)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		messages++
	}
	switch {
	case ts.kind != LMTP && messages < acknowledged, messages > 0 && acknowledged == 0:
		t.Fatalf("%d messages acknowledged, %d there", acknowledged, messages)
	}
	homes, err := os.ReadDir(ts.home)
	if err != nil {
		t.Fatal(err)
	}
	for _, home := range homes {
		switch home.Name() {
		case "alice", "bob", "carol", "erika@müller.example":
		default:
			t.Fatalf("made by the server: %q", home.Name())
		}
		entries, _ := os.ReadDir(filepath.Join(ts.home, home.Name(), "tmp"))
		if len(entries) > 0 {
			t.Fatal("left over in tmp/")
		}
	}
}
