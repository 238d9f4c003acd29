package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	_ "github.com/jhillyerd/enmime/v2" // provides samples, and must be in the module

	"maildird/scripts/rig"
)

// TestRealMail: every message of testdata/mail, and every sample in the enmime module, is
// transferred unchanged: SMTP in, bytes on disk, BODY[] out. The changes that may occur are
// documented: lines end in LF on disk and in CRLF on the wire, and a NUL is 0x80 in BODY[].
func TestRealMail(t *testing.T) {
	samples := append(ownMail(t), libraryMail(t)...)
	m := start(t)
	out, err := rig.DialSender(m.Address("smtp"), false, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, path := range samples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			out.Command(250, "MAIL FROM:<carol@example.net> BODY=8BITMIME"),
			out.Command(250, "RCPT TO:<%s>", bob),
			out.Command(354, "DATA")); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := out.Octets(string(onWire(text)), 1)[0]; err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	stored := mailIn(t, m, bob, "")
	if len(stored) != len(samples) {
		t.Fatalf("%d files for %d messages", len(stored), len(samples))
	}
	// Each message on disk is recognised by its body, below the added header fields.
	left := map[string]bool{}
	for name := range stored {
		left[name] = true
	}
	// What is inserted before messages that do not begin with a field.
	before := map[string]string{
		"bad-header-lines.eml": "X-Mailbox-Line: ", "bad-header-start.raw": "\n", "erroneous.raw": "\n", "no-header-at-all.eml": "\n",
	}
	for _, path := range samples {
		text, _ := os.ReadFile(path)
		want := append([]byte(before[filepath.Base(path)]), onDisk(onWire(text))...)
		found := ""
		for name := range left {
			if top, ok := bytes.CutSuffix(stored[name], want); ok && onlyTrace(top) {
				found = name
				break
			}
		}
		if found == "" {
			t.Errorf("%s is not on disk as it was sent", path)
		}
		delete(left, found)
	}
	c := login(t, m, bob, nil)
	if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	served := 0
	section := &imap.FetchItemBodySection{Peek: true}
	fetch := c.Fetch(imap.SeqSet{imap.SeqRange{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}, RFC822Size: true})
	bodies := map[string]int{}
	for name := range stored {
		bodies[string(served822(stored[name]))]++
	}
	for msg := fetch.Next(); msg != nil; msg = fetch.Next() {
		data, err := msg.Collect()
		if err != nil {
			t.Fatal(err)
		}
		body := data.FindBodySection(section)
		if bodies[string(body)] == 0 {
			t.Errorf("BODY[] of message %d is no file's text:\n%.500q", data.SeqNum, body)
		}
		bodies[string(body)]--
		if data.RFC822Size != int64(len(body)) {
			t.Errorf("message %d: RFC822.SIZE %d, BODY[] has %d octets", data.SeqNum, data.RFC822Size, len(body))
		}
		served++
	}
	if err := fetch.Close(); err != nil || served != len(samples) {
		t.Errorf("FETCH gave %d of %d messages, %v", served, len(samples), err)
	}
}

// ownMail returns the messages of testdata/mail.
func ownMail(t *testing.T) []string {
	return messages(t, "../../../testdata/mail")
}

// libraryMail returns the samples in the enmime module.
func libraryMail(t *testing.T) []string {
	const module = "github.com/jhillyerd/enmime/v2"
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil || len(bytes.TrimSpace(dir)) == 0 {
		t.Fatalf("where is %s? %q, %v; go mod download fetches it", module, dir, err)
	}
	paths := messages(t, string(bytes.TrimSpace(dir)))
	if len(paths) < 50 {
		t.Fatalf("%s has %d samples only", module, len(paths))
	}
	return paths
}

// messages returns the files below a directory whose name says that they are messages.
func messages(t *testing.T, dir string) []string {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".eml", ".raw", ".msg":
			if err == nil && d.Type().IsRegular() {
				paths = append(paths, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// onWire returns a file as a client sends it: every LF without a CR becomes CRLF, and the
// last line is terminated.
func onWire(text []byte) []byte {
	out := crlf(text)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return out
}

// onDisk returns what the server stores of wire.
func onDisk(wire []byte) []byte { return bytes.ReplaceAll(wire, []byte("\r\n"), []byte("\n")) }

// served822 returns BODY[] of a file.
func served822(file []byte) []byte {
	return bytes.ReplaceAll(crlf(file), []byte{0}, []byte{0x80})
}

func crlf(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/30)
	for i, b := range text {
		if b == '\n' && (i == 0 || text[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	return out
}

// onlyTrace reports whether top consists of what a server adds to a message.
func onlyTrace(top []byte) bool {
	if bytes.Contains(top, []byte("\n\n")) {
		return false
	}
	h, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(top), strings.NewReader("\n")))).ReadMIMEHeader()
	return err == nil && len(h) == 3 && len(h["Return-Path"]) == 1 && len(h["Delivered-To"]) == 1 && len(h["Received"]) == 1
}
