package imap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maildird/server/dialogue"
	"maildird/server/servertest"
)

// victim is a running server that is the target of hostile sessions.
type victim struct {
	*testServer
	pipes   *servertest.Pipes
	other   *testClient // a good client, which must not be affected
	touched bool        // whether someone other than the server changed files since fill
}

func newVictim(t testing.TB) *victim {
	ts := startServer(t)
	v := &victim{testServer: ts, pipes: servertest.NewPipes()}
	go func() { _ = ts.Serve(v.pipes, false) }()
	v.other = ts.dial()
	v.other.line()
	v.other.ok("LOGIN bob secret")
	v.other.ok("SELECT INBOX")
	return v
}

// validity is the UIDVALIDITY of alice's mailboxes.
const validity = "1700000000"

// fill recreates alice's Maildir, with some messages in addition to those of a dialogue.
func (v *victim) fill(t testing.TB) {
	v.touched = false
	root := v.root("alice")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := v.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for i, dir := range []string{"", ".Drafts", ".Sent", ".Junk", ".Trash", ".Archive"} {
		list := fmt.Sprintf("3 V%s N1 G%032x\n", validity, i)
		if err := os.WriteFile(filepath.Join(root, dir, "dovecot-uidlist"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range []string{"Subject: one\n\nfirst\n", clientMail, "\n", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n"} {
		name := fmt.Sprintf("180693310%d.M1P1.test:2,S", i)
		if err := os.WriteFile(filepath.Join(root, "cur", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// unknown matches values that dialogues learn from the server.
var unknown = regexp.MustCompile(`<[a-z]+>`)

// attackOf returns the client's part of a dialogue, for attack, with a login if
// one is required.
func attackOf(s *dialogue.Script) string {
	sent := strings.ReplaceAll(s.Played(), "<validity>", validity)
	sent = unknown.ReplaceAllString(sent, "1")
	if !strings.Contains(strings.ToUpper(sent), "LOGIN ") && !strings.Contains(strings.ToUpper(sent), "AUTHENTICATE ") {
		sent = "login LOGIN alice secret\r\n" + sent
	}
	return sent
}

// longestAttack keeps the duration of an input below the go command's limit of 10 s, even if it
// is sent byte by byte on a busy machine.
const longestAttack = 32 << 10

// FuzzSession sends input to a running server, at once, line by line or in pieces. The server
// must continue to serve others, send only consistent responses, end the session when the
// client is done, and leave the files in order.
func FuzzSession(f *testing.F) {
	files, err := filepath.Glob("../../testdata/imap/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no dialogues", err)
	}
	for i, file := range files {
		script, err := dialogue.Parse(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(attackOf(script), uint16(byLine))
		if i%8 == 0 {
			f.Add(attackOf(script), []uint16{atOnce, 7, vanishes}[i/8%3])
		}
	}
	f.Add("a LOGIN alice secret\r\nb COMPRESS DEFLATE\r\n"+deflated("c SELECT INBOX\r\nd FETCH 1:* (FLAGS BODY.PEEK[])\r\n"), uint16(byLine))
	v := newVictim(f)
	f.Fuzz(func(t *testing.T, sent string, piece uint16) {
		if len(sent) > longestAttack {
			return
		}
		v.fill(t)
		v.attack(t, sent, int(piece))
	})
}

// TestMutatedDialogues sends dialogues to the server in which bytes, words and lines were
// changed, in the same way in every run.
func TestMutatedDialogues(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	random := rand.New(rand.NewPCG(1, 2))
	var lines []string
	all := scripts(t)
	for _, s := range all {
		lines = append(lines, strings.SplitAfter(attackOf(s), "\r\n")...)
	}
	for round := range 2 {
		for _, s := range all {
			if round == 0 || random.IntN(4) == 0 {
				v.fill(t)
			}
			sent := mutate(random, attackOf(s), lines)
			v.attack(t, sent, []int{atOnce, byLine, byLine, random.IntN(40), vanishes}[random.IntN(5)])
			if t.Failed() {
				t.Fatalf("after a mutation of %s:\n%q", s.Name, sent)
			}
		}
	}
}

// mutate changes some parts of a client's input.
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
