package table

import (
	"encoding/binary"

	"github.com/dchest/siphash"

	"maildird/maildir/filename"
)

// Marks is what a directory that is listed is compared with: of each row that is
// present the 64 bits of a hash of its place, file name and inode number (Row.Inode),
// with the key of the index. Two files with one hash are as good as impossible, and
// cannot be chosen. A file that took the place of another is one that the table has not.
//
// To find a row by its mark is to look at neither the row nor its page, so the
// snapshot has the marks of all rows beside the pages: those pages need not be read.
// It stands for the table as it was when it was made. Safe for concurrent use.
type Marks struct {
	key   hashKey
	marks []byte
	slots []uint32 // row+1, 0 is free; open addressing
}

// What stands in the place of the mark of a row that is not present.
const (
	markExpunged = iota
	markAbsent
	leastMark // the marks begin here
)

const markSize = 8

// Marks gives the marks of all rows.
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

// FindEach finds the rows that are present with their files at this place under
// these names, each with its Row.Inode: rows gets each one's number plus one, or 0. As
// for LookupEach, the processor waits for memory for many at a time.
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

// allMarks gives the marks of all rows as they stand in a snapshot: 64 bits each,
// little-endian. Those of pages that were not read come from there.
func (t *Table) allMarks() []byte {
	marks := t.savedMarks()
	for i, p := range t.pages {
		if p.here.Load() {
			p.putMarks(marks[i*PageRows*markSize:], t.index.key)
		}
	}
	return marks
}

// savedMarks gives the marks in the snapshot, and room for those of rows that were
// added since. If they are not as they were written the table is broken, and the
// rows of its pages that were not read have no files.
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
		t.fail()
		return make([]byte, int(t.n)*markSize)
	}
	return saved[:int(t.n)*markSize]
}

// putMarks puts the marks of the page's rows.
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

// appendName appends the name of the file of a row.
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
