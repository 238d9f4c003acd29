package cache

import "time"

// Source is what tells a file from another one that got its name, beside the time of
// modification. Zero: not known.
type Source struct {
	Inode  uint32 // sum of its inode number (dirfd.InodeSum)
	Length uint32 // its bytes, modulo 2^32
}

// differs tells whether a fact is of another text than that of a file, as far as both are
// known. A file with another inode number is a copy of the one before if it has its
// length and time.
func (f *fact) differs(file Source, mtime int64) bool {
	dated := f.dated && mtime != noTime
	switch {
	case dated && f.mtime != mtime:
		return true
	case f.source == file || f.source == Source{} || file == Source{}:
		return false
	}
	return !dated || f.source.Length != file.Length
}

// doubt is a row of which the files know what may be of another file. inode is that of
// the mailbox.
type doubt struct {
	row, inode uint32
	key        Key
}

// settle drops what was read from the files of rows whose messages have another file.
// b.mu is held.
func (b *Box) settle(doubts []doubt) {
	for _, d := range doubts {
		f := b.row(d.row)
		if *f == (fact{}) || d.inode != 0 && f.source.Inode == d.inode {
			continue // what came later is of this file
		}
		switch file, mtime, ok := b.look(d.row); {
		case !ok:
			b.clear(f) // the file is somewhere else, perhaps
		case !b.compare(d.row, d.key, file, mtime):
			b.outdate(d.row, d.key)
		}
		if len(b.adds) >= flushEntries && !b.flushing {
			b.flush()
		}
	}
}

// Doubts tells whether anything is known of a row, and of a file with another
// Source.Inode.
func (b *Box) Doubts(row, inode uint32) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	f := b.fact(row)
	return f != fact{} && f.source.Inode != inode
}

// Compare tells whether what is known of a row, if anything, can be of its file. Then it
// is known to be of that from now on, also by who reads the files later; or else it has
// to be outdated.
func (b *Box) Compare(row uint32, key Key, file Source, mtime time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.compare(row, key, file, mtime)
}

// compare is Compare. b.mu is held.
func (b *Box) compare(row uint32, key Key, file Source, mtime time.Time) bool {
	f := b.row(row)
	switch {
	case *f == fact{}:
		return true
	case f.differs(file, nanoseconds(mtime)) || f.source == Source{} && !f.dated:
		return false
	case f.source != file:
		f.source = file
		if b.files != nil {
			e := entry{key: key, mtime: noTime, virtual: f.virtual - 1, source: file}
			if f.dated {
				e.mtime = f.mtime
			}
			b.adds = append(b.adds, addition{row, e})
		}
	}
	return true
}
