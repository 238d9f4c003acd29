package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/scripts/mailgen"
)

// BenchmarkSort sorts messages whose headers are in the cache.
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

// BenchmarkSortAfterDelivery sorts a mailbox whose order is remembered, except
// for some new messages.
func BenchmarkSortAfterDelivery(b *testing.B) {
	ts := startServerOn(b, b.TempDir(), b.TempDir())
	if err := ts.provision("alice"); err != nil {
		b.Fatal(err)
	}
	const messages = 10_000
	root := ts.root("alice")
	if _, err := mailgen.Fill(root, messages); err != nil {
		b.Fatal(err)
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	c.drain("UID SORT (SUBJECT) UTF-8 ALL")
	made := messages
	for _, fresh := range []int{1, 30, 300} {
		b.Run(fmt.Sprint(fresh), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				for range fresh {
					made++
					tmp, at := filepath.Join(root, "tmp", "new"), mailgen.Date(made%messages)
					if err := os.WriteFile(tmp, mailgen.Message(made), 0o600); err != nil {
						b.Fatal(err)
					}
					if err := os.Chtimes(tmp, at, at); err != nil {
						b.Fatal(err)
					}
					if err := os.Rename(tmp, filepath.Join(root, "cur", fmt.Sprintf("%d.M1P1.h:2,", 1_800_000_000+made))); err != nil {
						b.Fatal(err)
					}
				}
				c.drain("NOOP")
				b.StartTimer()
				c.drain("UID SORT (SUBJECT) UTF-8 ALL")
			}
		})
	}
}
