package cache

import "time"

// Source distinguishes a file from another one that got its name, in addition to the
// modification time. The zero value means unknown.
type Source struct {
	Inode  uint32 // its inode number, modulo 2^32
	Length uint32 // in bytes, modulo 2^32
}

// differs reports whether a fact belongs to another text than the given file, as far as
// both are known. A file with another inode number counts as a copy if it has the same
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

// doubt is a row whose cached data may come from another file. inode is that of the
// mailbox.
type doubt struct {
	row, inode uint32
	key        Key
}

// settle drops what was read from the cache files for messages that have a different file
// now. b.mu is held.
func (b *Box) settle(doubts []doubt) {
	for _, d := range doubts {
		f := b.row(d.row)
		if *f == (fact{}) || d.inode != 0 && f.source.Inode == d.inode {
			continue // later entries are from this file
		}
		switch file, mtime, ok := b.look(d.row); {
		case !ok:
			b.clear(f) // the file may be somewhere else
		case !b.compare(d.row, d.key, file, mtime):
			b.outdate(d.row, d.key)
		}
		if len(b.adds) >= flushEntries && !b.flushing {
			b.flush()
		}
	}
}

// Doubts reports whether anything is known of a row and came from a file with another
// Source.Inode.
func (b *Box) Doubts(row, inode uint32) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	f := b.fact(row)
	return f != fact{} && f.source.Inode != inode
}

// Compare reports whether what is known of a row, if anything, can come from its file. If
// so, it is from then on recorded as coming from that file, also for processes that read
// the cache files later; otherwise the caller has to call Outdate.
func (b *Box) Compare(row uint32, key Key, file Source, mtime time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.compare(row, key, file, mtime)
}

// compare is Compare with b.mu held.
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
