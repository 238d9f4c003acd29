package cache

import (
	"testing"
	"time"
)

// TestOtherFile: cached data is valid for the file that it came from, identified by its
// inode number, and for one with its length and time, which has to be examined once.
func TestOtherFile(t *testing.T) {
	is := sample(3)
	inode, length := is.Source.Inode, is.Source.Length
	for name, c := range map[string]struct {
		now   Record // the current file
		kept  bool   // in this process
		later bool   // in another process that finds the first file again
		looks int
	}{
		"the same":                       {now: is, kept: true, later: true},
		"a copy":                         {now: Record{Source: Source{inode + 1, length}, Mtime: is.Mtime}, kept: true, later: true, looks: 1},
		"of another time":                {now: Record{Source: Source{inode + 1, length}, Mtime: is.Mtime.Add(1)}, looks: 1},
		"of another length":              {now: Record{Source: Source{inode + 1, length - 1}, Mtime: is.Mtime}, looks: 1},
		"not there":                      {now: Record{}, later: true, looks: 1},
		"not seen by the mailbox":        {now: Record{Source: Source{0, length}, Mtime: is.Mtime}, kept: true, later: true, looks: 1},
		"of a time that cannot be noted": {now: Record{Source: Source{inode + 1, length}, Mtime: time.Unix(1<<40, 0)}, looks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Options{Dir: t.TempDir()})
			openShelf(t, s, 5).fill(upTo(5)...)
			sh := openShelfOf(t, s, 5, map[uint32]Record{3: c.now})
			_, ok := sh.read(3)
			if _, sized := sh.b.Size(3); ok != c.kept || sized != c.kept {
				t.Errorf("is kept: %v, its size: %v, want %v", ok, sized, c.kept)
			}
			if sh.looks != c.looks {
				t.Errorf("the file was looked at %d times, want %d", sh.looks, c.looks)
			}
			if !sh.check(2) || !sh.check(4) {
				t.Error("others are not kept")
			}
			sh.b.Flush()
			if c.now.Source.Inode != 0 && c.kept { // later processes need not examine it
				if next := openShelfOf(t, s, 5, sh.files); next.looks != 0 {
					t.Errorf("another process looked at the file %d times", next.looks)
				}
			}
			if _, ok := openShelf(t, s, 5).read(3); ok != c.later {
				t.Errorf("is kept of the first file: %v, want %v", ok, c.later)
			}
		})
	}
}

// TestManyOtherFiles: when all files were replaced, only a limited part of the resulting
// entries is held in memory before it is written.
func TestManyOtherFiles(t *testing.T) {
	const rows = 2*flushEntries + 10
	s := newStore(t, Options{Dir: t.TempDir()})
	openShelf(t, s, rows).fill(upTo(rows)...)
	files := map[uint32]Record{}
	for row := range uint32(rows) {
		r := sample(row)
		r.Source.Inode += rows
		files[row] = r
	}
	sh := openShelfOf(t, s, rows, files)
	if sh.looks != rows || len(sh.b.adds) > flushEntries {
		t.Errorf("looked %d times, %d entries are yet to be written", sh.looks, len(sh.b.adds))
	}
	sh.b.Flush()
	if next := openShelfOf(t, s, rows, files); next.looks != 0 {
		t.Errorf("another process looked %d times", next.looks)
	}
}
