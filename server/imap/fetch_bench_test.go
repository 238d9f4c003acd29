package imap

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/scripts/mailgen"
)

// BenchmarkFetch fetches what clients usually request for all messages, from a folder with and
// without a cache. cpu-ns/op is the CPU time of client and server, which is more reliable than
// elapsed time on a busy machine.
func BenchmarkFetch(b *testing.B) {
	home := b.TempDir()
	octets, err := mailgen.Fill(filepath.Join(home, "alice"), 3000)
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct{ name, items string }{
		{"flags", "(UID FLAGS)"},
		{"size", "(UID FLAGS INTERNALDATE RFC822.SIZE)"}, {"envelope", "ENVELOPE"}, {"structure", "BODYSTRUCTURE"},
		{"headers", "BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID References Content-Type Reply-To Received)]"},
		{"bodies", "BODY.PEEK[]"},
	} {
		b.Run(q.name+"/first", func(b *testing.B) {
			b.SetBytes(octets)
			var used int64
			for b.Loop() {
				b.StopTimer()
				ts := startServerOn(b, home, b.TempDir())
				c := ts.login()
				c.ok("SELECT INBOX")
				begin := cpuTime(b)
				b.StartTimer()
				c.drain("FETCH 1:* " + q.items)
				b.StopTimer()
				used += cpuTime(b) - begin
				ts.stop()
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
		})
		b.Run(q.name+"/second", func(b *testing.B) {
			b.SetBytes(octets)
			ts := startServerOn(b, home, b.TempDir())
			c := ts.login()
			c.ok("SELECT INBOX")
			c.drain("FETCH 1:* " + q.items)
			begin := cpuTime(b)
			for b.Loop() {
				c.drain("FETCH 1:* " + q.items)
			}
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
			ts.stop()
		})
	}
}

// drain sends a command and reads the answer as cheaply as possible.
func (c *testClient) drain(text string) {
	c.send("dr " + text + "\r\n")
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
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
