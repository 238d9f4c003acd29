package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir"
	"maildird/maildir/accesskey"
)

// urlTester lets clients read messages of alice by URL.
type urlTester struct {
	*testServer
	t     *testing.T
	alice *testClient
	bob   *testClient
}

func newURLTester(t *testing.T, options ...serverOption) *urlTester {
	t.Helper()
	ts := startServer(t, options...)
	ut := &urlTester{testServer: ts, t: t, alice: ts.login(), bob: ts.dial()}
	ts.deliver(t, "1706933101.M1P1.test:2,S", "Subject: secret\n\nfor your eyes\n")
	ut.bob.line()
	ut.bob.ok("LOGIN bob secret")
	ut.alice.ok("EXAMINE INBOX")
	return ut
}

// authorise lets alice authorise the URL of the text of her message.
func (ut *urlTester) authorise(path, access string) string {
	ut.t.Helper()
	url := "imap://alice@127.0.0.1/" + path + ";URLAUTH=" + access
	lines := ut.alice.ok(fmt.Sprintf("GENURLAUTH %q INTERNAL", url))
	full, ok := strings.CutPrefix(strings.Trim(lines[0], `"`), `* GENURLAUTH "`)
	if !ok || !strings.HasPrefix(full, url+":INTERNAL:01") || len(full) != len(url)+len(":INTERNAL:01")+64 {
		ut.t.Fatalf("%s gave %s", url, lines[0])
	}
	return full
}

// told lets a client fetch a URL, and checks whether it gets the text.
func (ut *urlTester) told(c *testClient, url string, want bool) {
	ut.t.Helper()
	lines := c.ok(fmt.Sprintf("URLFETCH %q", url))
	answer := strings.Join(lines, "\r\n")
	yes, no := fmt.Sprintf("* URLFETCH %q {15}\r\nfor your eyes\r\n", url), fmt.Sprintf("* URLFETCH %q NIL", url)
	if want && answer != yes || !want && answer != no {
		ut.t.Errorf("%s: %q, told is to be: %v", url, answer, want)
	}
}

const inboxText = "INBOX/;UID=1/;SECTION=TEXT"

// TestURLAuth: another user can read what a URL allows, and nothing else.
func TestURLAuth(t *testing.T) {
	t.Parallel()
	ut := newURLTester(t)
	anybody := ut.authorise(inboxText, "authuser")
	forBob := ut.authorise(inboxText, "user+bob")
	for _, c := range []*testClient{ut.alice, ut.bob} {
		ut.told(c, anybody, true)
		ut.told(c, ut.authorise(inboxText, "anonymous"), true)
		ut.told(c, ut.authorise(inboxText, "submit+bob"), false)
		ut.told(c, ut.authorise(inboxText, "user+nobody"), false)
		ut.told(c, ut.authorise(inboxText+";EXPIRE=2001-01-01T00:00:00Z", "anonymous"), false)
		ut.told(c, ut.authorise("INBOX/;UID=2/;SECTION=TEXT", "anonymous"), false)
		ut.told(c, ut.authorise("INBOX;UIDVALIDITY=7/;UID=1", "anonymous"), false)
	}
	ut.told(ut.bob, forBob, true)
	ut.told(ut.bob, ut.authorise(inboxText, "user+BOB%40example.org"), true)
	ut.told(ut.bob, ut.authorise(inboxText, "user+alice"), false)
	ut.told(ut.alice, forBob, false)

	// A URL that was modified in any way is no longer valid.
	for i := range anybody {
		changed := []byte(anybody)
		changed[i] ^= 1
		if c := changed[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			continue
		}
		ut.told(ut.bob, string(changed), false)
	}
	ut.told(ut.bob, anybody[:len(anybody)-2], false)
	ut.told(ut.bob, anybody+"00", false)
	ut.told(ut.bob, anybody[:strings.LastIndex(anybody, ":")], false)
	ut.told(ut.bob, strings.Replace(anybody, "alice@", "bob@", 1), false)
	ut.told(ut.bob, strings.Replace(anybody, "alice@", "", 1), false)
	ut.told(ut.bob, strings.Replace(anybody, "/INBOX", "/x/../INBOX", 1), false)
	ut.told(ut.bob, strings.Replace(anybody, "imap://alice@127.0.0.1", "", 1), false)

	// Bob cannot authorise URLs of alice, whether or not they exist, and the server does not
	// look at them in his session.
	for _, url := range []string{
		"imap://alice@127.0.0.1/INBOX/;UID=1;URLAUTH=user+bob", "imap://alice@127.0.0.1/nowhere/;UID=1;URLAUTH=user+bob", "imap://nobody@127.0.0.1/INBOX/;UID=1;URLAUTH=user+bob",
		"imap://bob@127.0.0.1/%2e%2e/alice/;UID=1;URLAUTH=user+bob", "imap://bob@127.0.0.1/../alice/;UID=1;URLAUTH=user+bob", "imap://bob@127.0.0.1/a%00/;UID=1;URLAUTH=user+bob",
	} {
		ut.bob.fails(fmt.Sprintf("GENURLAUTH %q INTERNAL", url), "BAD")
		ut.bob.ok("NOOP")
	}
	ut.bob.fails(`APPEND INBOX CATENATE (URL "`+anybody+`")`, "NO [BADURL "+anybody+"]")

	// A user who submits mail for others may use URLs that are meant for that.
	sub := newURLTester(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.Submitters = []string{"bob@example.org"} })
	submitted := sub.authorise(inboxText, "submit+alice")
	sub.told(sub.bob, submitted, true)
	sub.told(sub.alice, submitted, false)

	// Nothing stays open of the accounts that URLs led to.
	ut.stop()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, ut.home+"/") {
			t.Errorf("%s is still open", to)
		}
	}
}

// TestURLAuthKeys revokes URLs in all ways in which a key can be lost.
func TestURLAuthKeys(t *testing.T) {
	t.Parallel()
	ut := newURLTester(t)
	file := filepath.Join(ut.root("alice"), accesskey.Name)
	ut.alice.ok("CREATE Work")
	ut.alice.ok("COPY 1 Work")
	make2 := func() (inbox, work string) {
		return ut.authorise(inboxText, "anonymous"), ut.authorise("Work/;UID=1/;SECTION=TEXT", "anonymous")
	}
	inbox, work := make2()
	if again, _ := make2(); again != inbox {
		t.Error("the same URL was authorised in another way")
	}
	ut.told(ut.bob, inbox, true)
	ut.told(ut.bob, work, true)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v (%v)", st, err)
	}
	ut.alice.ok("RESETKEY INBOX")
	ut.told(ut.bob, inbox, false)
	ut.told(ut.bob, work, true)
	inbox, _ = make2()
	ut.told(ut.bob, inbox, true)
	ut.alice.ok("RESETKEY")
	ut.told(ut.bob, inbox, false)
	ut.told(ut.bob, work, false)
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("the key's file is there: %v", err)
	}
	// The key file is removed, damaged, or not a file.
	for _, harm := range []func() error{
		func() error { return os.Remove(file) },
		func() error { return os.WriteFile(file, []byte("INTERNAL 00\n"), 0o600) },
		func() error { return os.WriteFile(file, nil, 0o600) },
		func() error {
			other := filepath.Join(ut.root("alice"), "other")
			if err := os.Rename(file, other); err != nil {
				return err
			}
			return os.Symlink(other, file)
		},
	} {
		inbox, _ = make2()
		ut.told(ut.bob, inbox, true)
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		ut.told(ut.bob, inbox, false)
	}
	// The mailbox is renamed or replaced.
	_, work = make2()
	ut.alice.ok("RENAME Work Play")
	ut.told(ut.bob, work, false)
	ut.told(ut.bob, strings.Replace(work, "/Work/", "/Play/", 1), false)
	ut.alice.ok("RENAME Play Work")
	ut.told(ut.bob, work, true)
	ut.alice.ok("DELETE Work")
	ut.told(ut.bob, work, false)
	ut.alice.ok("CREATE Work")
	ut.alice.ok("COPY 1 Work")
	ut.told(ut.bob, work, false)
	// The message is gone.
	inbox, _ = make2()
	if err := os.Remove(filepath.Join(ut.root("alice"), "cur", "1706933101.M1P1.test:2,S")); err != nil {
		t.Fatal(err)
	}
	ut.told(ut.bob, inbox, false)
	// The Maildir is gone, and is not created for a URL.
	if err := os.RemoveAll(ut.root("alice")); err != nil {
		t.Fatal(err)
	}
	ut.told(ut.bob, inbox, false)
	if _, err := os.Lstat(ut.root("alice")); !os.IsNotExist(err) {
		t.Errorf("the Maildir was made: %v", err)
	}
}
