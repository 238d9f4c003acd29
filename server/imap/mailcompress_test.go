package imap

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/compress"
	"maildird/maildir/filename"
	"maildird/scripts/rig"
)

// compressItems are fetched for each message from both servers.
var compressItems = []string{
	"RFC822.SIZE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODYSTRUCTURE", "BODY.PEEK[1]", "BODY.PEEK[TEXT]<3.9>", "BODY.PEEK[]<70000.50>",
}

// compressMails returns a small message and one that has several blocks in every format.
func compressMails() []string {
	head := "Subject: compressed\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\n"
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "line %d of the long message\r\n", i)
	}
	return []string{head + "two\r\n--b--\r\n", head + b.String() + "--b--\r\n"}
}

// dovecotClient logs in to a Dovecot as alice.
func dovecotClient(t *testing.T, d *rig.Dovecot) *testClient {
	t.Helper()
	conn, err := net.Dial("tcp", d.IMAP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := newTestClient(t, conn)
	c.line()
	c.ok("LOGIN alice@example.org secret")
	return c
}

// appendMails appends to INBOX, with a flag, so that the files are put in cur/.
func (c *testClient) appendMails(mails []string) {
	c.t.Helper()
	for _, text := range mails {
		c.ok(fmt.Sprintf("APPEND INBOX (\\Flagged) {%d+}\r\n%s", len(text), text))
	}
}

// curFiles returns the sorted paths of the files in cur/.
func curFiles(t *testing.T, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "cur", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return filename.Compare(filepath.Base(a), filepath.Base(b)) })
	return files
}

// checkCompressed checks that the files have the format, and that the sizes in their names are
// those of the text.
func checkCompressed(t *testing.T, root string, format compress.Format, mails []string) {
	t.Helper()
	files := curFiles(t, root)
	if len(files) != len(mails) {
		t.Fatalf("%d files, want %d", len(files), len(mails))
	}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := compress.Detect(data); got != format {
			t.Errorf("%s is %q, want %q", file, got, format)
		}
		lf := strings.ReplaceAll(mails[i], "\r\n", "\n")
		if s, w := filename.Sizes(filename.Base(filepath.Base(file))); s != int64(len(lf)) || w != int64(len(mails[i])) {
			t.Errorf("%s is of a text of %d bytes, %d octets", file, len(lf), len(mails[i]))
		}
	}
}

// TestCompressedFilesOfBoth: maildird reads the compressed files of Dovecot, and Dovecot reads
// those of maildird. Sizes, structure and partial texts must agree.
func TestCompressedFilesOfBoth(t *testing.T) {
	for _, c := range []struct {
		dovecot string // Dovecot's setting
		theirs  compress.Format
		ours    compress.Format
	}{{"gz", compress.Gzip, compress.Gzip}, {"zstd", compress.Zstd, compress.Zstd}, {"lz4", compress.LZ4, compress.None}} {
		t.Run(c.dovecot, func(t *testing.T) {
			t.Parallel()
			home, err := rig.Dir("compress")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(home) })
			root := filepath.Join(home, "mail/example.org/alice")
			d, err := rig.StartDovecot(t.Context(), rig.DovecotOptions{
				Root: home, Accounts: []rig.Account{{Address: "alice@example.org", Password: "secret"}},
				Extra: "mail_plugins = zlib\nplugin {\n  zlib_save = " + c.dovecot + "\n}\n",
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			mails := compressMails()
			theirs := dovecotClient(t, d)
			theirs.appendMails(mails)
			checkCompressed(t, root, c.theirs, mails)

			ts := startServer(t)
			ts.store.Delivery().Compress = c.ours
			if err := os.CopyFS(ts.root("alice"), os.DirFS(root)); err != nil {
				t.Fatal(err)
			}
			ours := ts.login()
			ours.ok("SELECT INBOX")
			theirs.ok("SELECT INBOX")
			compareItems(t, ours, theirs, 1, len(mails))

			// Also the files that maildird writes for APPEND and COPY.
			if c.ours == compress.None {
				return
			}
			if err := ts.provision("bob"); err != nil {
				t.Fatal(err)
			}
			bob := ts.dial()
			bob.line()
			bob.ok("LOGIN bob secret")
			bob.appendMails(mails)
			checkCompressed(t, ts.root("bob"), c.ours, mails)
			bob.ok("SELECT INBOX")
			bob.ok("COPY 1:* Archive")
			checkCompressed(t, filepath.Join(ts.root("bob"), ".Archive"), c.ours, mails)
			bob.fails(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", 12, "\x1f\x8b\x08 no mail"), "NO [CANNOT]")
			for i, file := range curFiles(t, ts.root("bob")) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				// Later names, so that they sort after Dovecot's.
				name := strings.Replace(filepath.Base(file), filepath.Base(file)[:10], fmt.Sprint(2_000_000_000+i), 1)
				if err := os.WriteFile(filepath.Join(root, "cur", name), data, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := rig.Own(home); err != nil {
				t.Fatal(err)
			}
			theirs.ok("NOOP")
			for i := range mails {
				for _, item := range compressItems {
					want := bob.fetched(i+1, item)
					if got := theirs.fetched(len(mails)+i+1, item); got != want {
						t.Errorf("%s of our message %d is for Dovecot\n%.300s\nwant\n%.300s", item, i+1, got, want)
					}
				}
			}
		})
	}
}

// compareItems fetches the same items from both.
func compareItems(t *testing.T, ours, theirs *testClient, from, to int) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		for _, item := range compressItems {
			got, want := ours.fetched(seq, item), theirs.fetched(seq, item)
			if got != want {
				t.Errorf("%s of message %d is\n%.300s\nwant\n%.300s", item, seq, got, want)
			}
		}
	}
}

// TestCompressedDamaged: a damaged file is a message that cannot be read; the session and the
// other messages are not affected.
func TestCompressedDamaged(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"Subject: one\n\n1\n", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 not any more", "Subject: three\n\n3\n"} {
		path := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("%d.M1P1.test:2,S", 1_700_000_000+i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	lines, status := c.command("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	if !strings.HasPrefix(status, "NO [UNAVAILABLE]") || !strings.Contains(strings.Join(lines, " "), "three") {
		t.Errorf("%q, %s", lines, status)
	}
	if !strings.Contains(ts.log.String(), compress.ErrDamaged.Error()) {
		t.Errorf("the log has no word of it:\n%s", ts.log)
	}
	if got := c.fetched(3, "BODY.PEEK[TEXT]"); got != `"3\r\n"` {
		t.Error(got)
	}
}
