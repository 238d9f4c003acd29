package imap

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plantHuge adds a message to alice's INBOX that consists of a header and a hole. Its size is
// 1 TiB, or less if the file system allows less, but at least 8 GiB.
func plantHuge(t *testing.T, ts *testServer, header string) (size int64) {
	t.Helper()
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(ts.root("alice"), "cur", "17.M1P1.huge:2,")
	if err := os.WriteFile(name, []byte(header), 0o600); err != nil {
		t.Fatal(err)
	}
	for size = 1 << 40; ; size >>= 1 {
		err := os.Truncate(name, size)
		if err == nil {
			return size
		}
		if size == 1<<33 {
			t.Fatal(err)
		}
	}
}

// TestHugeSparseFile: commands on a message of a terabyte, almost all of it a hole, are answered
// without reading all of it. What cannot be determined in that way is refused.
func TestHugeSparseFile(t *testing.T) {
	ts := startServer(t)
	const header = "Subject: huge\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nneedle\n--b\n\n"
	size := plantHuge(t, ts, header)
	virtual := size + int64(strings.Count(header, "\n"))
	randomThreads(t, ts.root("alice"), 1, 12)
	c := ts.login()
	c.ok("SELECT INBOX")
	uid := strings.Fields(c.ok("SEARCH SUBJECT huge")[0])[2]
	fetch := func(items, want string) {
		t.Helper()
		if got := strings.Join(c.ok("FETCH "+uid+" "+items), "\n"); !strings.Contains(got, want) {
			t.Errorf("FETCH %s: %.300q, want %q", items, got, want)
		}
	}
	fetch("RFC822.SIZE", strconv.FormatInt(virtual, 10))
	fetch("BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "Subject: huge")
	fetch("ENVELOPE", `"huge"`)
	fetch("BODYSTRUCTURE", `("text" "plain"`)
	fetch("BODY.PEEK[1]", "needle")
	fetch("BODY.PEEK[TEXT]<7.6>", "needle")
	fetch("BINARY.SIZE[2]", " "+strconv.FormatInt(size-int64(len(header)), 10))
	fetch("BODY.PEEK[]<"+strconv.FormatInt(virtual-3, 10)+".10>", "{3}")
	fetch("PREVIEW", "needle")
	c.fails("FETCH 1:* BODY.PEEK[]", "NO [LIMIT]")
	c.fails("FETCH 1:* (UID BODY.PEEK[2])", "NO [LIMIT]")
	message := "/INBOX/;UID=" + strings.Fields(c.ok("UID SEARCH SUBJECT huge")[0])[2] + "/;SECTION=TEXT"
	c.fails(`APPEND Drafts CATENATE (URL "`+message+`")`, "NO [TOOBIG]")
	url := strings.Split(c.ok(`GENURLAUTH "imap://alice@127.0.0.1` + message + `;URLAUTH=authuser" INTERNAL`)[0], `"`)[1]
	if got := c.ok(`URLFETCH "` + url + `"`)[0]; !strings.HasSuffix(got, " NIL") {
		t.Errorf("URLFETCH: %.300q", got)
	}
	for search, found := range map[string]bool{"TEXT needle": true, "TEXT nowhere": false, "BODY nowhere": false, "LARGER 4294967295": true} {
		if got := c.ok("SEARCH " + search)[0]; strings.Contains(got, " "+uid) != found {
			t.Errorf("SEARCH %s: %s", search, got)
		}
	}
	c.ok("SORT (SIZE) UTF-8 ALL")
	c.ok("STATUS INBOX (SIZE)")
	c.ok("COPY " + uid + " Archive")
	copies, err := filepath.Glob(filepath.Join(ts.root("alice"), ".Archive", "[cn]*", "*"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies: %q, %v", copies, err)
	}
	if st, err := os.Stat(copies[0]); err != nil || st.Size() != size || st.Sys().(*syscall.Stat_t).Blocks*512 > 1<<20 {
		t.Fatal(st, err)
	}
	c.ok("MOVE " + uid + " Trash")
}

// TestLongReadEnds: a command that must read the whole of an endless message stops when the
// client disconnects and when the server shuts down. Others are served in the meantime.
func TestLongReadEnds(t *testing.T) {
	const header = "Content-Transfer-Encoding: quoted-printable\n\n"
	for name, command := range map[string]string{
		"fetch": "FETCH 1:* BINARY.SIZE[1]", "piece": "FETCH 1:* BINARY.PEEK[1]<5000000000.10>",
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			plantHuge(t, ts, header)
			c, other := ts.login(), ts.login()
			c.ok("SELECT INBOX")
			c.send("long " + command + "\r\n")
			awaitOpen(t, "huge")
			for range 3 {
				other.ok("SELECT INBOX")
				other.ok("FETCH 1 (FLAGS BODY.PEEK[HEADER])")
			}
			_ = c.conn.Close()
			for began := time.Now(); ts.sessions.Len() > 1; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatal("the session of a client that is gone goes on")
				}
			}
			other.send("long " + command + "\r\n")
			awaitOpen(t, "huge")
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := ts.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the server stopped with %v: nothing was read", err)
			}
		})
	}
}

// awaitOpen waits until this process has opened a file whose name contains part.
func awaitOpen(t *testing.T, part string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil && strings.Contains(name, part) {
				return
			}
		}
	}
	t.Fatalf("nobody opened %s", part)
}
