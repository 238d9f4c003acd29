package imap

import (
	"strings"
	"testing"

	"maildird/scripts/mailgen"
)

// BenchmarkSort asks for an order of messages whose headers are in the cache.
func BenchmarkSort(b *testing.B) {
	ts := startServerOn(b, b.TempDir(), b.TempDir())
	if err := ts.provision("alice"); err != nil {
		b.Fatal(err)
	}
	const messages = 10_000
	if _, err := mailgen.Fill(ts.root("alice"), messages); err != nil {
		b.Fatal(err)
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	for _, command := range []string{
		"SORT (DATE)", "SORT (REVERSE DATE)", "SORT (SUBJECT)", "SORT (FROM)", "SORT (ARRIVAL)", "SORT (SIZE)",
		"THREAD REFERENCES", "THREAD ORDEREDSUBJECT",
	} {
		c.drain("UID " + command + " UTF-8 ALL")
		b.Run(strings.NewReplacer(" ", "_", "(", "", ")", "").Replace(command), func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				c.drain("UID " + command + " UTF-8 ALL")
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}
