package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"maildird/maildir/octets"
)

// use asks a table for everything, as sessions do: whatever was in its file, it must not
// panic, and the answers must be consistent.
func (t *Table) use(tb testing.TB) {
	t.lookUpAll(tb)
	for n := range t.n {
		_, _ = t.FileName(n), t.Ext(n)
		if got, ok := t.ByUID(t.Row(n).UID); !ok || got != n && !t.broken.Load() {
			tb.Errorf("row %d has the UID of row %d", n, got)
		}
		t.Before(n)
	}
	for k := range t.count {
		if n, ok := t.Nth(k); !ok || n >= t.n {
			tb.Fatalf("nth(%d) is %d, %v, in a table of %d", k, n, ok, t.n)
		}
	}
	t.Marks().FindEach(InCur, []string{"nothing"}, make([]uint32, 1), make([]uint32, 1))
	t.FirstUnseen()
	n, _, _ := t.Add(t.LastUID()+1, "new")
	t.SetName(n, InCur, "new:2,S")
	t.SetState(n, Present)
	if got, ok := t.Lookup("new"); !ok || got != n {
		tb.Error("a row that was added is not found")
	}
	t.lookUpAll(tb)
}

// lookUpAll looks up all bases, and one that no row has, one by one and all at once.
func (t *Table) lookUpAll(tb testing.TB) {
	bases := []string{"nothing"}
	for n := range t.n {
		bases = append(bases, string(t.Base(n)))
	}
	rows := make([]uint32, len(bases))
	t.LookupEach(bases, rows)
	for i, base := range bases {
		if n, ok := t.Lookup(base); ok && rows[i] != n+1 || !ok && rows[i] != 0 {
			tb.Errorf("%q is in row %d, %v; looked up with others: %d", base, n, ok, int64(rows[i])-1)
		}
	}
}

// FuzzSnapshot reads files with arbitrary contents after the front.
func FuzzSnapshot(f *testing.F) {
	tab := New()
	for i := range uint32(300) {
		n, _, _ := tab.Add(i+1, fmt.Sprintf("%d.M1P1.host", i))
		tab.SetName(n, InCur, fmt.Sprintf("%d.M1P1.host:2,S", i))
		tab.SetState(n, Present)
	}
	tab.SetName(7, InCur, "7.M1P1.host:2,SX")
	tab.SetExt(8, "Gabc")
	tab.SetState(9, Expunged)
	name := filepath.Join(f.TempDir(), "snapshot")
	file, err := os.Create(name)
	must(f, err)
	must(f, tab.Write(file, octets.AppendText(nil, "state"), 0, 7, new(sync.Mutex)))
	must(f, file.Close())
	data, err := os.ReadFile(name)
	must(f, err)
	at := binary.LittleEndian.Uint64(data[8:])
	f.Add(data[snapFront:at], data[at:], true)
	f.Add(data[snapFront:at], data[at:], false)
	f.Add([]byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, body, head []byte, trusted bool) {
		const run = 7
		le := binary.LittleEndian
		must(t, os.Remove(name)) // one process runs one input at a time
		must(t, os.WriteFile(name, nil, 0o600))
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		defer file.Close()
		front := append([]byte{}, snapMagic...)
		front = le.AppendUint64(front, uint64(snapFront+len(body)))
		front = le.AppendUint32(front, uint32(len(head)))
		front = le.AppendUint32(front, crc32.Checksum(head, castagnoli))
		front = le.AppendUint64(front, run)
		front = le.AppendUint64(front, uint64(1e18))
		front = le.AppendUint32(front, crc32.Checksum(front, castagnoli))
		front = append(front, make([]byte, snapFront-len(front))...)
		_, err = file.Write(append(append(front, body...), head...))
		must(t, err)
		if trusted {
			must(t, os.Chtimes(name, unixNano(1e18), unixNano(1e18)))
		}
		tab, own, whole, err := Read(file, run, func(d *octets.Decoder) { d.Text() }, func(error) {})
		if err == nil {
			if whole != trusted || len(own) > len(head) {
				t.Errorf("whole is %v of a file that is trusted: %v; %d octets are the owner's", whole, trusted, len(own))
			}
			tab.use(t)
			tab.Close()
		}
	})
}

// FuzzPage decodes a page with arbitrary counts. Whatever is accepted is the same after it
// was written and read again.
func FuzzPage(f *testing.F) {
	p := &page{first: 5}
	p.add(5, "one")
	p.add(9, "two")
	p.exts = map[uint8]string{1: "Gabc"}
	f.Add(p.encode(nil), uint8(2), uint32(5), uint8(0), uint8(0), uint8(0), uint8(0))
	p.addFile(10, InCur, "three:2,ST", 77)
	p.addFile(12, InNew, "four", 0)
	p.addFile(13, InCur, "five:2,Sx=y", 1<<31)
	c := p.Counts
	f.Add(p.encode(nil), uint8(5), uint32(5), uint8(c.Present), uint8(c.Unseen), uint8(c.Deleted), uint8(c.Recent))
	f.Fuzz(func(t *testing.T, b []byte, rows uint8, first uint32, present, unseen, deleted, recent uint8) {
		if rows == 0 {
			return
		}
		p := &page{first: first, Counts: Counts{uint16(present), uint16(unseen), uint16(deleted), uint16(recent)}}
		if p.decode(b, int(rows)) != nil {
			return
		}
		if len(p.rows) != int(rows) || p.rows[0].UID != first {
			t.Fatalf("%d rows of %d, from %d on", len(p.rows), rows, p.rows[0].UID)
		}
		for i := range p.rows {
			p.base(uint8(i))
		}
		again := &page{first: first, Counts: p.Counts}
		if err := again.decode(p.encode(nil), int(rows)); err != nil {
			t.Fatalf("a page that was read cannot be read again: %v", err)
		}
		if !slices.Equal(again.rows, p.rows) || !bytes.Equal(again.names, p.names) || !maps.Equal(again.odd, p.odd) || !maps.Equal(again.exts, p.exts) || again.alive != p.alive {
			t.Errorf("%+v is read again as %+v", p, again)
		}
	})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func unixNano(n int64) time.Time { return time.Unix(0, n) }
