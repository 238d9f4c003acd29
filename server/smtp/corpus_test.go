package smtp

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sampleMails returns the project's sample mail and that in the module of a mail library.
func sampleMails(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/mail/*.eml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d sample mails, %v", len(files), err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/jhillyerd/enmime/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "*", "*.raw"))
	if err != nil || len(theirs) < 50 {
		t.Fatalf("%d mails of enmime, %v", len(theirs), err)
	}
	return append(files, theirs...)
}

// TestSampleMails: messages sent with DATA and BDAT are on disk byte for byte, with
// LF instead of CRLF.
func TestSampleMails(t *testing.T) {
	ts := startServer(t, MX)
	c := ts.hello()
	// Messages that do not begin with a field (see firstLine).
	before := map[string]string{
		"bad-header-lines.eml": "X-Mailbox-Line: ", "bad-header-start.raw": "\n", "erroneous.raw": "\n", "no-header-at-all.eml": "\n",
	}
	for _, file := range sampleMails(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		// As a client with text lines sends it: an LF alone is a line ending.
		lf := bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		wire := bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n"))
		want := string(lf)
		if !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		c.begin("alice@example.org")
		if len(lf) == 0 {
			c.send(".\r\n")
			want = ""
		} else {
			c.send(string(stuff(wire)))
		}
		c.expect("250")
		ts.expectOnly(name, "alice", before[name]+want)

		c.send("MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\n")
		c.expect("250")
		c.expect("250")
		half := len(text) / 2
		c.send(fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, text[:half], len(text)-half, text[half:]))
		c.expect("250")
		c.expect("250")
		ts.expectOnly(name+" in chunks", "alice", before[name]+string(lf))
	}
}

// expectOnly checks a user's only message and removes it.
func (ts *testServer) expectOnly(what, user, want string) {
	ts.t.Helper()
	got := ts.mail(user)
	if len(got) != 1 {
		ts.t.Fatalf("%s: %d messages", what, len(got))
	}
	if got := untraced(ts.t, got[0]); got != want {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		ts.t.Errorf("%s: differs at octet %d: got %.80q, want %.80q", what, i, got[i:], want[i:])
	}
	paths, _ := filepath.Glob(filepath.Join(ts.home, user, "new", "*"))
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			ts.t.Fatal(err)
		}
	}
}
