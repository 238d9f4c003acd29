package imap

import (
	"path/filepath"
	"strings"
	"testing"

	"maildird/scripts/mailgen"
)

// BenchmarkFetch fetches what clients ask of all messages: of a folder that has
// no cache yet, and of one that has.
func BenchmarkFetch(b *testing.B) {
	home := b.TempDir()
	octets, err := mailgen.Fill(filepath.Join(home, "alice"), 3000)
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct{ name, items string }{
		{"size", "(UID FLAGS INTERNALDATE RFC822.SIZE)"}, {"envelope", "ENVELOPE"}, {"structure", "BODYSTRUCTURE"},
		{"headers", "BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID References Content-Type Reply-To Received)]"},
		{"bodies", "BODY.PEEK[]"},
	} {
		b.Run(q.name+"/first", func(b *testing.B) {
			b.SetBytes(octets)
			for b.Loop() {
				b.StopTimer()
				ts := startServerOn(b, home, b.TempDir())
				c := ts.login()
				c.ok("SELECT INBOX")
				b.StartTimer()
				c.drain("FETCH 1:* " + q.items)
				b.StopTimer()
				ts.stop()
				b.StartTimer()
			}
		})
		b.Run(q.name+"/second", func(b *testing.B) {
			b.SetBytes(octets)
			ts := startServerOn(b, home, b.TempDir())
			c := ts.login()
			c.ok("SELECT INBOX")
			c.drain("FETCH 1:* " + q.items)
			for b.Loop() {
				c.drain("FETCH 1:* " + q.items)
			}
			ts.stop()
		})
	}
}

// drain sends a command and takes the answer as cheaply as can be.
func (c *testClient) drain(text string) {
	c.send("dr " + text + "\r\n")
	const end = "\r\ndr OK "
	var tail string
	buf := make([]byte, 64<<10)
	for {
		n, err := c.in.Read(buf)
		if err != nil {
			c.t.Fatal(err)
		}
		tail = (tail + string(buf[max(0, n-100):n]))
		tail = tail[max(0, len(tail)-200):]
		if strings.Contains(tail, end) && strings.HasSuffix(tail, "\r\n") {
			return
		}
	}
}
