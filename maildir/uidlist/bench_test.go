package uidlist

import (
	"fmt"
	"strings"
	"testing"
)

func bigList(b *testing.B, n int) *File {
	d := openDir(b)
	var text strings.Builder
	fmt.Fprintf(&text, "3 V17 N1 G%s\n", guid)
	for i := range n {
		fmt.Fprintf(&text, "%d :17%08d.M%dP99V1I2.host.example,S=4321,W=4400\n", i+1, i, i)
	}
	put(b, d, text.String())
	return New(d, Options{})
}

// BenchmarkRead is the first look at a list.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := bigList(b, n)
			b.ReportAllocs()
			for b.Loop() {
				got := 0
				if _, err := New(f.dir, Options{}).Refresh(func(Record) { got++ }); err != nil || got != n {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}

// BenchmarkUnchanged is a look at a list that has not changed.
func BenchmarkUnchanged(b *testing.B) {
	f := bigList(b, 100_000)
	_, err := f.Refresh(func(Record) {})
	must(b, err)
	f.seen.racy = false
	b.ReportAllocs()
	for b.Loop() {
		if change, err := f.Refresh(func(Record) {}); change != Unchanged || err != nil {
			b.Fatal(change, err)
		}
	}
}

// BenchmarkAppend adds a record to a long list, without fdatasync.
func BenchmarkAppend(b *testing.B) {
	f := bigList(b, 100_000)
	_, err := f.Refresh(func(Record) {})
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		must(b, f.Append([]Record{{UID: f.Header().NextUID, Base: "1700000001.M1P99V1I2.host.example,S=4321,W=4400"}}))
	}
}

// BenchmarkRewrite rewrites a list, keeping fields of the old one.
func BenchmarkRewrite(b *testing.B) {
	f := bigList(b, 100_000)
	var all []Record
	_, err := f.Refresh(func(r Record) { all = append(all, r) })
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		must(b, f.Rewrite(f.Header(), seq(all...)))
	}
}
