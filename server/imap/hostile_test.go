package imap

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir"
)

// TestHostileCommands sends commands that only an attacker sends. The answer to each must begin
// with the given text, and the connection must stay usable.
func TestHostileCommands(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ts.deliver(t, fmt.Sprintf("170693310%d.M1P1.test:2,S", i), "Subject: x\n\nx\n")
	}
	bomb := strings.Repeat("1:4294967295,", 15_000) + "4294967295:1"
	before := []struct{ name, send, want string }{
		{"literal bomb", "LOGIN {9999999999999999999}", "BAD"},
		{"literal above the limit", "LOGIN {4097}", "BAD"},
		{"literal that comes by itself", "LOGIN {5000+}\r\n" + strings.Repeat("x", 5000) + " secret", "BAD"},
		{"many literals", "LOGIN " + strings.Repeat("{0+}\r\n", 3000) + " x", "BAD"},
		{"long line", "LOGIN " + strings.Repeat("x", 100_000), "BAD"},
		{"string without an end", `LOGIN "alice`, "BAD"},
		{"append without login", "APPEND INBOX {1000000}", "BAD"},
		{"endless SASL response", "AUTHENTICATE PLAIN " + strings.Repeat("A", 100_000), "BAD"},
	}
	c := ts.dial()
	c.line()
	for _, tt := range before {
		t.Run(tt.name, func(t *testing.T) { c.t = t; c.fails(tt.send, tt.want); c.ok("NOOP") })
	}
	c = ts.login()
	c.ok("SELECT INBOX")
	after := []struct{ name, send, want string }{
		{"sets in FETCH", "UID FETCH " + bomb + " FLAGS", "OK"},
		{"sets in STORE", "UID STORE " + bomb + " +FLAGS (\\Seen)", "OK"},
		{"sets in SEARCH", "SEARCH UID " + bomb, "OK"},
		{"sets in COPY", "UID COPY " + bomb + " Trash", "OK"},
		{"sets in EXPUNGE", "UID EXPUNGE " + bomb, "OK"},
		{"set that is too long", "UID FETCH " + bomb + "," + bomb + " FLAGS", "BAD"},
		{"nested parentheses", "SEARCH " + strings.Repeat("(", 5000) + "ALL" + strings.Repeat(")", 5000), "BAD"},
		{"nested NOT", "SEARCH " + strings.Repeat("NOT ", 5000) + "ALL", "BAD"},
		{"nested OR", "SEARCH " + strings.Repeat("OR ALL ", 5000) + "ALL", "BAD"},
		{"many keys", "SEARCH " + strings.Repeat("ALL ", 20_000) + "ALL", "BAD"},
		{"many probes", "SEARCH " + strings.Repeat("TEXT y ", 500) + "ALL", "OK"},
		{"wildcards", `LIST "" "` + strings.Repeat("*%", 2000) + `x"`, "OK"},
		{"many patterns", `LIST "" (` + strings.Repeat("* ", 5000) + "*)", "NO"},
		{"long part number", "FETCH 1 BODY[" + strings.Repeat("1.", 5000) + "1]", "BAD"},
		{"many items", "FETCH 1 (" + strings.Repeat("BODY[HEADER.FIELDS (A)] BODY[1] ", 2) + manyParts(600) + ")", "BAD"},
		{"many flags", "STORE 1 +FLAGS (" + manyWords(200) + ")", "NO [LIMIT]"},
		{"long flag", "STORE 1 +FLAGS (" + strings.Repeat("k", 1000) + ")", "NO [LIMIT]"},
		{"literal above the limit", "SELECT {131073}", "BAD"},
		{"message above the limit", "APPEND INBOX {52428801}", "NO [TOOBIG]"},
		{"long command", "SEARCH SUBJECT " + strings.Repeat("x", 300_000), "BAD"},
		{"NUL", "SELECT \"a\x00b\"", "BAD"},
		{"NUL in a literal", "SELECT {3+}\r\na\x00b", "BAD"},
		{"control octets", "FETCH \x01\x02\x7f FLAGS", "BAD"},
		{"date of the far future", "SEARCH BEFORE 1-Jan-9999", "OK"},
		{"not UTF-8", "SELECT \"a\xffb\"", "NO [CANNOT]"},
	}
	for _, tt := range after {
		t.Run(tt.name, func(t *testing.T) { c.t = t; c.fails(tt.send, tt.want); c.ok("NOOP") })
	}
	c.t = t
	long := strings.Repeat("T", 5000)
	c.send(long + " NOOP\r\n")
	if line := c.line(); !strings.HasPrefix(line, "* BAD") {
		t.Errorf("giant tag: %.100s", line)
	}
	c.ok("NOOP")
}

func manyParts(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "BODY.PEEK[%d] ", i)
	}
	return b.String() + "UID"
}

func manyWords(n int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprintf("word%d", i))
	}
	return strings.Join(words, " ")
}

// deliver writes a file to alice's cur/.
func (ts *testServer) deliver(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(ts.root("alice"), "cur", name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHostileLiteralEnds announces literals that are too large even to be
// skipped: the connection ends.
func TestHostileLiteralEnds(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	c := ts.dial()
	c.line()
	c.send("a LOGIN {99999999+}\r\n")
	c.ends("too big")
	c = ts.login()
	c.send("a APPEND INBOX {9999999999999+}\r\n")
	c.ends("too big")
}

// TestHostileNames uses mailbox names that would lead out of the Maildir, or to
// its internal files.
func TestHostileNames(t *testing.T) {
	for _, layout := range []string{"maildir++", "fs"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, func(_ *Config, a *maildir.AccountOptions) { a.Folder.Layout = layout })
			c := ts.login()
			ts.deliver(t, "1706933101.M1P1.test:2,S", "Subject: x\n\nx\n")
			c.ok("SELECT INBOX")
			bob := ts.root("bob")
			if err := os.MkdirAll(filepath.Join(bob, "cur"), 0o700); err != nil {
				t.Fatal(err)
			}
			outside := tree(t, ts.home, ts.root("alice"))
			names := []string{
				"..", ".", "../bob", "a/../../bob", "../../../../etc/passwd", "/etc/passwd", "//x", "a//b", "./x", "a/./b", "x/..",
				bob, "~/x", "~root/x", strings.Repeat("x", 300), strings.Repeat("x/", 200) + "x",
			}
			if layout == "fs" {
				names = append(names, "cur", "new/x", "tmp", "a/cur")
			}
			for _, name := range names {
				for _, command := range []string{"SELECT %q", "CREATE %q", "DELETE %q", "STATUS %q (MESSAGES)", "SUBSCRIBE %q",
					"COPY 1 %q", "MOVE 1 %q", "RENAME %q elsewhere", "RENAME INBOX %q", "APPEND %q {3+}\r\nabc"} {
					if name[0] == '~' && !strings.HasPrefix(command, "SELECT") { // an ordinary character
						continue
					}
					if _, status := c.command(fmt.Sprintf(command, name)); strings.HasPrefix(status, "OK") {
						t.Errorf(command+": %s", name, status)
					}
					c.ok("EXAMINE INBOX")
					c.ok("SELECT INBOX")
				}
			}
			if now := tree(t, ts.home, ts.root("alice")); now != outside {
				t.Errorf("outside of the Maildir was\n%s\nand is\n%s", outside, now)
			}
			if lines := c.ok("FETCH 1:* UID"); len(lines) != 1 {
				t.Errorf("INBOX has %v", lines)
			}
		})
	}
}

// tree lists all files below dir, except those below one directory.
func tree(t *testing.T, dir, without string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path == without {
			return fs.SkipDir
		}
		all.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestHostileFiles puts things into the Maildir that are not messages. None of them may block
// the server or expose another file.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	cur := filepath.Join(ts.root("alice"), "cur")
	secret := filepath.Join(ts.home, "secret")
	if err := os.WriteFile(secret, []byte("Subject: secret\n\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		unix.Mkfifo(filepath.Join(cur, "1706933101.M1P1.test:2,S"), 0o600),
		os.Symlink(secret, filepath.Join(cur, "1706933102.M1P1.test:2,S")),
		os.Symlink("/dev/zero", filepath.Join(cur, "1706933103.M1P1.test:2,S")),
		os.Mkdir(filepath.Join(cur, "1706933104.M1P1.test:2,S"), 0o700),
		os.Symlink("nowhere", filepath.Join(cur, "1706933105.M1P1.test:2,S")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ts.deliver(t, "1706933106.M1P1.test,S=5000,W=6000:2,S", "Subject: wrong sizes\n\nx\n")
	ts.deliver(t, "1706933107.M1P1.test:2,S", "Subject: last\n\ny\n")
	c := ts.login()
	c.ok("SELECT INBOX")
	for _, command := range []string{
		"FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 1:* FAST", "SEARCH TEXT secret",
		"SEARCH LARGER 1", "STATUS INBOX (MESSAGES SIZE)", "STORE 1:* +FLAGS (\\Flagged)", "COPY 1:* Trash", "FETCH 1:* BODY[]",
	} {
		lines, status := c.command(command)
		said := strings.Join(lines, "\n")
		if strings.Contains(said, "secret") {
			t.Errorf("%s shows another file: %s", command, said)
		}
		if strings.HasPrefix(command, "FETCH 1:* (UID") && (!strings.Contains(said, "Subject: wrong sizes") || !strings.Contains(said, "Subject: last")) {
			t.Errorf("%s does not show the other messages: %s, %s", command, said, status)
		}
	}
	c.ok("NOOP")
}

// TestHostileMemory: the memory of sessions stays within their limits.
func TestHostileMemory(t *testing.T) {
	ts := startServer(t)
	var before, after runtime.MemStats
	var clients []net.Conn
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 50 {
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		clients = append(clients, conn)
		c := newTestClient(t, conn)
		c.line()
		// An endless line, much longer than a command may be.
		for range 32 {
			c.send(strings.Repeat("x", 32<<10))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > int64(len(clients))*128<<10 {
		t.Errorf("%d sessions before login hold %d octets", len(clients), grown)
	}
}
