package cache

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"
)

// shelf is a mailbox with a cache: row n has UID n+1 and the base "base.n".
type shelf struct {
	t     testing.TB
	s     *Store
	b     *Box
	id    ID
	bases map[uint32]string // by row, where they differ
	files map[uint32]Record // by row, the files that differ from sample
	rows  uint32
	looks int // number of calls of Open's look
}

var inbox = ID{Account: "/mail/alice", GUID: "0123456789abcdef0123456789abcdef", UIDValidity: 7}

func openShelf(t testing.TB, s *Store, rows uint32) *shelf {
	t.Helper()
	return openShelfOf(t, s, rows, nil)
}

// openShelfOf is openShelf for a mailbox with files other than the initial ones.
func openShelfOf(t testing.TB, s *Store, rows uint32, files map[uint32]Record) *shelf {
	t.Helper()
	sh := &shelf{t: t, s: s, b: s.NewBox(), id: inbox, rows: rows, bases: map[uint32]string{}, files: files}
	sh.open()
	return sh
}

func (sh *shelf) open() { sh.b.Open(sh.id, sh.resolve, sh.look) }

func (sh *shelf) resolve(uid uint32) (row uint32, base uint64, inode uint32, ok bool) {
	row = uid - 1
	file := sh.file(row)
	return row, sh.key(row).Base, file.Source.Inode, uid > 0 && row < sh.rows
}

// file returns the file of a row, as a record.
func (sh *shelf) file(row uint32) Record {
	if r, ok := sh.files[row]; ok {
		return r
	}
	return sample(row)
}

func (sh *shelf) look(row uint32) (Source, time.Time, bool) {
	sh.looks++
	file := sh.file(row)
	return file.Source, file.Mtime, file.Source != Source{}
}

func (sh *shelf) key(row uint32) Key {
	base, ok := sh.bases[row]
	if !ok {
		base = fmt.Sprintf("base.%d", row)
	}
	return Key{UID: row + 1, Base: BaseSum(base)}
}

func (sh *shelf) add(row uint32, r Record) { sh.b.Add(row, sh.key(row), &r) }

// read returns what is cached of a row.
func (sh *shelf) read(row uint32) (Record, bool) {
	var w Window
	defer w.Close()
	return sh.b.Read(&w, row, sh.key(row))
}

// sample returns the record that row always gets in these tests.
func sample(row uint32) Record {
	rnd := rand.New(rand.NewPCG(uint64(row), 1))
	r := Record{
		Size: int64(rnd.IntN(1_000_000)), Virtual: int64(rnd.IntN(2_000_000)),
		Mtime: time.Unix(1_700_000_000+int64(rnd.IntN(1_000_000)), int64(rnd.IntN(1_000_000_000))),
	}
	r.Source = Source{row + 1, uint32(r.Size)}
	for k := range kinds {
		if rnd.IntN(4) > 0 || k == Header {
			piece := make([]byte, rnd.IntN(150))
			for i := range piece {
				piece[i] = byte(rnd.Uint32())
			}
			r.Set(k, piece)
		}
	}
	return r
}

func sameRecord(a, b *Record) bool {
	if a.Size != b.Size || a.Virtual != b.Virtual || !a.Mtime.Equal(b.Mtime) || a.Source != b.Source || a.has != b.has {
		return false
	}
	for k := range kinds {
		if !bytes.Equal(a.pieces[k], b.pieces[k]) {
			return false
		}
	}
	return true
}

// check reads a row: what is there must be correct. It reports whether all of it is there.
func (sh *shelf) check(row uint32) bool {
	sh.t.Helper()
	want := sample(row)
	if n, ok := sh.b.Size(row); ok && n != want.Virtual {
		sh.t.Fatalf("row %d has size %d, not %d", row, n, want.Virtual)
	}
	if d, ok := sh.b.Date(row); ok && !d.Equal(want.Mtime) {
		sh.t.Fatalf("row %d has date %s, not %s", row, d, want.Mtime)
	}
	got, ok := sh.read(row)
	if ok && !sameRecord(&got, &want) {
		sh.t.Fatalf("row %d has %+v, not %+v", row, got, want)
	}
	return ok
}

// count returns how many of the rows are there.
func (sh *shelf) count() (n int) {
	sh.t.Helper()
	for row := range sh.rows {
		if sh.check(row) {
			n++
		}
	}
	return n
}

// fill adds rows and writes them.
func (sh *shelf) fill(rows ...uint32) {
	for _, row := range rows {
		sh.add(row, sample(row))
	}
	sh.b.Flush()
}

func upTo(n uint32) (rows []uint32) {
	for row := range n {
		rows = append(rows, row)
	}
	return rows
}

func newStore(t testing.TB, opt Options) *Store {
	s := New(opt)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// logBuffer returns a log whose output can be examined.
func logBuffer() (*slog.Logger, *bytes.Buffer) {
	b := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(b, nil)), b
}
