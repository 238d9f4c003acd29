package imap

import (
	"syscall"
	"testing"

	"maildird/scripts/mailgen"
)

// BenchmarkSearch searches mail of all shapes for text that does not occur. The files are in
// the page cache, so only the cost of the program is measured.
func BenchmarkSearch(b *testing.B) {
	ts := startServer(b)
	if err := ts.provision("alice"); err != nil {
		b.Fatal(err)
	}
	octets, err := mailgen.Fill(ts.root("alice"), 3000)
	if err != nil {
		b.Fatal(err)
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	for _, q := range []struct{ name, search string }{
		{"ascii", `TEXT "no such word"`}, {"body", `BODY "no such word"`}, {"unicode", "CHARSET UTF-8 TEXT {15+}\r\nÜbersichtlich "},
		{"header", `SUBJECT "no such word"`},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.SetBytes(octets)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				c.ok("SEARCH " + q.search)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// BenchmarkSearchKnown searches for what the view of the mailbox knows without reading a file.
func BenchmarkSearchKnown(b *testing.B) {
	ts := startServer(b)
	if err := ts.provision("alice"); err != nil {
		b.Fatal(err)
	}
	if _, err := mailgen.Fill(ts.root("alice"), 10_000); err != nil {
		b.Fatal(err)
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	for _, q := range []struct{ name, search string }{
		{"unseen", "UNSEEN"}, {"all", "ALL"}, {"set", "UID 1:5000,7000:* NOT DELETED OR FLAGGED ANSWERED"}, {"since", "SINCE 1-Feb-2024"},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				c.drain("UID SEARCH " + q.search)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// cpuTime returns the CPU time of this process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
