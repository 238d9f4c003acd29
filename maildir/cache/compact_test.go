package cache

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCompactionKeepsWhatOthersAdded: after a process determined which records are needed,
// and before it writes the smaller files, another process may add records of messages for
// which the first one has none, and that what the first one has of a message is outdated.
func TestCompactionKeepsWhatOthersAdded(t *testing.T) {
	const rows, more = 900, 100 // one read of the index has entries of both
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), rows+more)
	for row := range uint32(rows) {
		r := sample(row)
		r.Set(Header, make([]byte, 4<<10))
		sh.add(row, r)
	}
	sh.b.Flush()
	for row := range uint32(rows) {
		if row%10 > 0 {
			sh.b.Forget(row)
		}
	}
	sh.b.mu.Lock()
	job := sh.b.compaction()
	sh.b.mu.Unlock()
	if job == nil {
		t.Fatal("most is gone, and nothing is to be made smaller")
	}
	other := openShelf(t, newStore(t, Options{Dir: dir}), rows+more)
	for row := range uint32(more) {
		other.fill(rows + row)
	}
	other.b.Outdate(10, other.key(10))
	other.b.Flush()
	was, err := os.Stat(filepath.Join(sh.s.dir, sh.id.name()+dataSuffix))
	if err != nil {
		t.Fatal(err)
	}
	stale := *job
	stale.of++ // it knows the offsets in files that others have replaced
	stale.run()
	if is, err := os.Stat(filepath.Join(sh.s.dir, sh.id.name()+dataSuffix)); err != nil || !os.SameFile(is, was) {
		t.Fatalf("it was done to other files: %v", err)
	}
	job.run()
	next := openShelf(t, newStore(t, Options{Dir: dir}), rows+more)
	if n, err := size(next.b.files.data); err != nil || n > 1<<20 {
		t.Fatalf("the file has %d bytes, %v", n, err)
	}
	if _, ok := next.read(20); !ok {
		t.Error("what is needed is gone")
	}
	if _, ok := next.read(10); ok {
		t.Error("what is outdated is there again")
	}
	for row := range uint32(more) {
		if !next.check(rows + row) {
			t.Errorf("what was added of row %d is gone", rows+row)
		}
	}
}
