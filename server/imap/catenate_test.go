package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"maildird/maildir"
	"maildird/server/imap/imapurl"
)

// TestHostileURLs uses URLs that only an attacker uses. Nothing may be stored.
func TestHostileURLs(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	for _, user := range []string{"alice", "bob"} {
		if err := ts.provision(user); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ts.root(user), "cur", "1706933101.M1P1.test:2,S"), []byte("Subject: "+user+"\n\nx\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	refused := []string{
		"/../bob/;UID=1", "/%2e%2e/bob/;UID=1", "/..%2fbob/;UID=1", "/%2e%2e/%2e%2e/bob/;UID=1", "/%2fetc%2fpasswd/;UID=1", "/" + strings.TrimPrefix(ts.root("bob"), "/") + "/;UID=1",
		"imap://bob@127.0.0.1/INBOX/;UID=1", "imap://alice@127.0.0.1/INBOX/;UID=1", "//bob@127.0.0.1/INBOX/;UID=1", "/~bob/;UID=1",
		"/cur/;UID=1", "/INBOX%00/;UID=1", "/INBOX%0d%0a/;UID=1", "/INBOX/;UID=0", "/INBOX/;UID=4294967296", "/INBOX/;UID=4294967295",
		"/INBOX;UIDVALIDITY=1/;UID=1", "/INBOX/;UID=1/;PARTIAL=99999999999999999999", "/INBOX/;UID=1/;PARTIAL=0.0",
		"/INBOX/;UID=1/;SECTION=" + strings.Repeat("1.", 90) + "1", "/INBOX/;UID=1/;SECTION=2", "/INBOX/;UID=1/;SECTION=1.1",
		"/INBOX/;UID=1;URLAUTH=anonymous:INTERNAL:" + strings.Repeat("0", 32),
	}
	for _, url := range refused {
		c.fails("APPEND INBOX CATENATE (URL \""+url+"\")", "NO [BADURL "+imapurl.Escape(url)+"] ")
		c.fails("APPEND INBOX CATENATE (TEXT {3+}\r\nabc URL \""+url+"\" TEXT {3+}\r\nabc)", "NO [BADURL "+imapurl.Escape(url)+"] ")
	}
	c.fails("APPEND INBOX CATENATE (URL \"/x] y\\\"z\\\\/;UID=1\")", "NO [BADURL /x%5D%20y%22z%5C/;UID=1] ")
	c.fails("APPEND INBOX CATENATE (URL \"/"+strings.Repeat("x", imapurl.MaxLen)+"/;UID=1\")", "NO [LIMIT]")
	c.fails("APPEND INBOX CATENATE (URL \"/INBOX\x00/;UID=1\")", "BAD")
	c.fails("APPEND INBOX CATENATE ("+strings.Repeat("(", 5000)+")", "BAD")
	c.fails("APPEND INBOX CATENATE (TEXT {52428801}", "NO [TOOBIG]")
	c.fails("APPEND INBOX CATENATE (TEXT {3+}\r\nabc TEXT {52428798}", "NO [TOOBIG]")
	c.fails("APPEND INBOX CATENATE ("+strings.Repeat("TEXT {1+}\r\nx ", maxCatenated)+"TEXT {1+}\r\nx)", "NO [LIMIT]")
	c.fails("APPEND INBOX {3+}\r\nabc CATENATE (TEXT {3+}\r\nabc) CATENATE (URL \"/INBOX/;UID=9\")", "NO [BADURL")
	if lines := c.ok("UID FETCH 1:* UID"); len(lines) != 1 {
		t.Errorf("INBOX has %v", lines)
	}
	if left, err := os.ReadDir(filepath.Join(ts.root("alice"), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("tmp/ has %v (%v)", left, err)
	}
	c.ok("APPEND INBOX CATENATE (" + strings.Repeat("TEXT {1+}\r\nx ", maxCatenated-1) + "TEXT {1+}\r\nx)")
}

// TestCatenateLoop builds messages from themselves until they are too large. The limit for
// messages must end this, and no command may need the memory of a whole message.
func TestCatenateLoop(t *testing.T) {
	ts := startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.AppendLimit = 8 << 20 })
	c := ts.login()
	c.ok(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", 1<<20, strings.Repeat("Subject: again\r\n", 1<<16)))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	uid := 1
	for ; ; uid++ {
		url := fmt.Sprintf("URL /INBOX/;UID=%d", uid)
		_, status := c.command("APPEND INBOX CATENATE (" + url + " " + url + ")")
		if strings.HasPrefix(status, "NO [TOOBIG]") {
			break
		}
		if !strings.HasPrefix(status, "OK") || uid > 20 {
			t.Fatal(status)
		}
	}
	runtime.ReadMemStats(&after)
	if uid != 4 { // 8 MiB
		t.Errorf("message %d was the last one", uid)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 4<<20 {
		t.Errorf("%d octets of memory were taken for messages of 14 MiB together", taken)
	}
	c.ok("SELECT INBOX")
	lines := c.ok("FETCH 1:* RFC822.SIZE")
	if len(lines) != 4 || !strings.Contains(lines[3], fmt.Sprint(8<<20)) {
		t.Errorf("messages are %v", lines)
	}
}

// TestCatenateChanges: other programs change the mailbox in the middle of a command.
func TestCatenateChanges(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		ts.deliver(t, fmt.Sprintf("170693310%d.M1P1.test:2,S", i), fmt.Sprintf("Subject: %d\n\nx\n", i))
	}
	cur := filepath.Join(ts.root("alice"), "cur")
	c := ts.login()
	c.ok("SELECT INBOX")

	// A renamed message is found. A removed one is not, and nothing is stored.
	c.send("a APPEND Drafts CATENATE (URL \"/INBOX/;UID=1/;SECTION=HEADER\" TEXT {3}\r\n")
	if line := c.line(); line[0] != '+' {
		t.Fatal(line)
	}
	if err := os.Rename(filepath.Join(cur, "1706933102.M1P1.test:2,S"), filepath.Join(cur, "1706933102.M1P1.test:2,FS")); err != nil {
		t.Fatal(err)
	}
	c.send("abc URL \"/INBOX/;UID=2/;SECTION=HEADER\" TEXT {3}\r\n")
	if line := c.line(); line[0] != '+' {
		t.Fatal(line)
	}
	if err := os.Remove(filepath.Join(cur, "1706933103.M1P1.test:2,S")); err != nil {
		t.Fatal(err)
	}
	c.send("abc URL \"/INBOX/;UID=3\")\r\n")
	for {
		line := c.line()
		if line[0] == '*' {
			continue
		}
		if !strings.HasPrefix(line, "a NO [BADURL /INBOX/;UID=3]") {
			t.Error(line)
		}
		break
	}
	c.ok("APPEND Drafts CATENATE (URL /INBOX/;UID=2/;SECTION=HEADER TEXT {3+}\r\nabc)")
	if lines := c.ok("STATUS Drafts (MESSAGES)"); !strings.Contains(strings.Join(lines, ""), "MESSAGES 1)") {
		t.Error(lines)
	}
	// A part is read from the actual file, regardless of the sizes in its name.
	ts.deliver(t, "1706933104.M1P1.test,S=5000,W=6000:2,S", "Subject: wrong sizes\n\nx\n")
	c.ok("NOOP")
	c.ok("APPEND Drafts CATENATE (URL /INBOX/;UID=4)")
	c.ok("EXAMINE Drafts")
	if lines := c.ok("FETCH 2 RFC822.SIZE"); !strings.Contains(lines[0], "RFC822.SIZE 27)") {
		t.Error(lines)
	}
}

// TestCatenateDeep takes a deeply nested part out of a message, and replaces a draft by
// one that contains it.
func TestCatenateDeep(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	const depth = 40
	var text, end strings.Builder
	for i := range depth {
		fmt.Fprintf(&text, "Content-Type: multipart/mixed; boundary=\"b%02d\"\n\n--b%02d\n", i, i)
	}
	text.WriteString("Content-Type: text/plain\n\nvery deep")
	for i := depth - 1; i >= 0; i-- {
		fmt.Fprintf(&end, "\n--b%02d--", i)
	}
	ts.deliver(t, "1706933101.M1P1.test:2,DS", text.String()+end.String()+"\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	deep := strings.Repeat("1.", depth-1) + "1"
	want := c.ok("FETCH 1 BODY.PEEK[" + deep + "]")
	c.ok("UID REPLACE 1 INBOX (\\Draft) CATENATE (TEXT {3+}\r\n\r\n: URL \";UID=1/;SECTION=" + deep + "\")")
	lines := strings.Join(c.ok("FETCH 1 (FLAGS BODY.PEEK[TEXT])"), "\n")
	if !strings.Contains(strings.Join(want, "\n"), "very deep") || !strings.Contains(lines, "very deep") || !strings.Contains(lines, `\Draft`) {
		t.Errorf("%s of %s", lines, want)
	}
}
