package table

import (
	"encoding/binary"

	"github.com/dchest/siphash"

	"maildird/maildir/filename"
)

// Marks is what a directory listing is compared with: for each present row a 64-bit hash of
// its file's place, name and inode number (Row.Inode), with the key of the index. Two files
// with the same hash are practically impossible, and cannot be constructed. A file that
// replaced another one counts as a file that the table does not have.
//
// Finding a row by its mark touches neither the row nor its page, so the snapshot has the
// marks of all rows outside the pages, which then need not be read. Marks represent the
// table at the time when they were made. They are safe for concurrent use.
type Marks struct {
	key   hashKey
	marks []byte
	slots []uint32 // row+1, 0 is free; open addressing
}

// Values that stand in place of a mark for rows that are not present.
const (
	markExpunged = iota
	markAbsent
	leastMark // the smallest mark
)

const markSize = 8

// Marks returns the marks of all rows.
func (t *Table) Marks() *Marks {
	m := &Marks{key: t.index.key, marks: t.allMarks()}
	size := leastSlots
	for size < 2*int(t.n) {
		size *= 2
	}
	m.slots = make([]uint32, size)
	mask := uint64(size - 1)
	for n := range t.n {
		mark := m.at(n)
		if mark < leastMark {
			continue
		}
		h := mark & mask
		for m.slots[h] != 0 {
			h = (h + 1) & mask
		}
		m.slots[h] = n + 1
	}
	return m
}

// FindEach finds the present rows whose files are at this place under these names, with
// these values of Row.Inode, and sets rows to the row of each plus one, or 0. As in
// LookupEach, the processor waits for memory for many of them at a time.
func (m *Marks) FindEach(where Place, names []string, inodes, rows []uint32) {
	const group = 64
	var marks [group]uint64
	mask := uint64(len(m.slots) - 1)
	for first := 0; first < len(names); first += group {
		some := names[first:min(first+group, len(names))]
		found := rows[first : first+len(some)]
		for i, name := range some {
			marks[i] = m.key.mark(where, inodes[first+i], bytesOf(name))
		}
		for i := range some {
			found[i] = m.slots[marks[i]&mask]
		}
		for i := range some {
			for h := marks[i] & mask; found[i] != 0 && m.at(found[i]-1) != marks[i]; {
				h = (h + 1) & mask
				found[i] = m.slots[h]
			}
		}
	}
}

// State returns the state that row n had.
func (m *Marks) State(n uint32) State {
	switch m.at(n) {
	case markExpunged:
		return Expunged
	case markAbsent:
		return Absent
	}
	return Present
}

func (m *Marks) at(n uint32) uint64 { return binary.LittleEndian.Uint64(m.marks[int(n)*markSize:]) }

func (k hashKey) mark(where Place, inode uint32, name []byte) uint64 {
	return max(siphash.Hash(k[0], k[1]^uint64(where)^uint64(inode)<<8, name), leastMark)
}

// allMarks returns the marks of all rows in the form of the snapshot: 64 bits each,
// little-endian. Those of pages that were not read come from the snapshot.
func (t *Table) allMarks() []byte {
	marks := t.savedMarks()
	for i, p := range t.pages {
		if p.here.Load() {
			p.putMarks(marks[i*PageRows*markSize:], t.index.key)
		}
	}
	return marks
}

// savedMarks returns the marks in the snapshot, with space for those of rows that were
// added since. If they are damaged, the table is broken, and the rows of pages that were
// not read count as having no files.
func (t *Table) savedMarks() []byte {
	marks := make([]byte, int(t.n)*markSize)
	s := t.saved
	if s == nil {
		return marks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return marks
	}
	saved, err := s.readInto(&marks, s.marks)
	if err != nil {
		t.fail(err)
		return make([]byte, int(t.n)*markSize)
	}
	return saved[:int(t.n)*markSize]
}

// putMarks stores the marks of the page's rows.
func (p *page) putMarks(marks []byte, key hashKey) {
	var room [256]byte
	for i := range p.rows {
		mark := uint64(markExpunged)
		switch r := &p.rows[i]; r.State {
		case Absent:
			mark = markAbsent
		case Present:
			mark = key.mark(r.Where, r.Inode, p.appendName(room[:0], uint8(i)))
		}
		binary.LittleEndian.PutUint64(marks[i*markSize:], mark)
	}
}

// appendName appends the name of a row's file.
func (p *page) appendName(b []byte, i uint8) []byte {
	r := &p.rows[i]
	if r.form == formOdd {
		return append(b, p.odd[i]...)
	}
	b = append(b, p.base(i)...)
	if r.form == formFlags {
		b = filename.AppendInfo(b, r.Flags)
	}
	return b
}
