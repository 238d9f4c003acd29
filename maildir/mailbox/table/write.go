package table

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// snapWriter writes a snapshot from front to end, and collects the head meanwhile.
type snapWriter struct {
	t    *Table
	lock sync.Locker // for reading the table
	w    *bufio.Writer
	head []byte
	off  int64 // in the file, of what comes next
	buf  []byte
}

// Write writes a snapshot to an empty file, which records the given run of the machine, and
// the modification time (Unix nanoseconds) that the caller will give the file. state is the
// state of the table's owner. lock is acquired for reading the table, one page at a time;
// between pages, nobody may add or expunge rows.
func (t *Table) Write(f *os.File, state []byte, mtime int64, run uint64, lock sync.Locker) error {
	if _, err := f.Seek(snapFront, io.SeekStart); err != nil {
		return err
	}
	w := &snapWriter{t: t, lock: lock, w: bufio.NewWriterSize(f, 256<<10), head: slices.Clone(state), off: snapFront}
	if err := w.pages(); err != nil {
		return err
	}
	if err := w.slots(); err != nil {
		return err
	}
	w.lock.Lock()
	w.buf = t.allMarks()
	w.lock.Unlock()
	if err := w.chunk(); err != nil {
		return err
	}
	if len(w.head) > maxHead || t.broken.Load() {
		return fmt.Errorf("%w, or too large", ErrDamaged)
	}
	if _, err := w.w.Write(w.head); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(w.front(mtime, run), 0)
	return err
}

// pages writes the pages.
func (w *snapWriter) pages() error {
	le := binary.LittleEndian
	w.head = le.AppendUint64(w.head, w.t.index.key[0])
	w.head = le.AppendUint64(w.head, w.t.index.key[1])
	w.head = le.AppendUint32(w.head, w.t.n)
	w.head = le.AppendUint32(w.head, uint32(len(w.t.pages)))
	for i, p := range w.t.pages {
		var c Counts
		var err error
		w.lock.Lock()
		w.buf, c, err = w.t.pageBytes(w.buf[:0], uint32(i))
		w.lock.Unlock()
		if err != nil {
			return err
		}
		w.head = le.AppendUint32(w.head, uint32(len(w.buf)))
		if err := w.chunk(); err != nil {
			return err
		}
		w.head = le.AppendUint32(w.head, p.first)
		for _, n := range []uint16{c.Present, c.Unseen, c.Deleted, c.Recent} {
			w.head = le.AppendUint16(w.head, n)
		}
	}
	return nil
}

// slots writes the slots of the index.
func (w *snapWriter) slots() error {
	le := binary.LittleEndian
	w.lock.Lock()
	slots, err := w.t.allSlots()
	w.lock.Unlock()
	if err != nil {
		return err
	}
	w.head = le.AppendUint32(w.head, uint32(len(slots)/blockSlots))
	for block := range slices.Chunk(slots, blockSlots) {
		w.buf = w.buf[:0]
		for _, e := range block {
			w.buf = le.AppendUint32(w.buf, e)
		}
		if err := w.chunk(); err != nil {
			return err
		}
	}
	return nil
}

// chunk writes buf, and adds its checksum to the head.
func (w *snapWriter) chunk() error {
	w.head = binary.LittleEndian.AppendUint32(w.head, crc32.Checksum(w.buf, castagnoli))
	w.off += int64(len(w.buf))
	_, err := w.w.Write(w.buf)
	return err
}

// front returns the beginning of the file. It is written last: without it, the rest is not
// a snapshot.
func (w *snapWriter) front(mtime int64, run uint64) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, snapFront), snapMagic...)
	b = le.AppendUint64(b, uint64(w.off))
	b = le.AppendUint32(b, uint32(len(w.head)))
	b = le.AppendUint32(b, crc32.Checksum(w.head, castagnoli))
	b = le.AppendUint64(b, run)
	b = le.AppendUint64(b, uint64(mtime))
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:snapFront]
}

// pageBytes appends a page in the form of the file. A page that was not read yet is copied.
// The lock is held.
func (t *Table) pageBytes(b []byte, i uint32) ([]byte, Counts, error) {
	p := t.pages[i]
	if s := t.saved; !p.here.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !p.here.Load() {
			raw, err := s.read(s.pages[i])
			return append(b, raw...), p.Counts, err
		}
	}
	// Mail in new/ is recent for whoever opens the folder.
	c := p.Counts
	c.Recent = 0
	for k := range p.rows {
		if p.rows[k].State == Present && p.rows[k].Where == InNew {
			c.Recent++
		}
	}
	return p.encode(b), c, nil
}

// allSlots returns the slots of an index of all rows.
func (t *Table) allSlots() ([]uint32, error) {
	size := uint64(blockSlots)
	for size*3 < uint64(t.n)*4 {
		size *= 2
	}
	x := &t.index
	if len(x.old) == 0 || uint64(len(x.old))*blockSlots < size {
		slots, sums := make([]uint32, size), make([]uint64, size)
		for n := range t.n {
			put(slots, sums, n, x.key.sum(t.Base(n)))
		}
		return slots, nil
	}
	size = uint64(len(x.old)) * blockSlots
	slots := make([]uint32, 0, size)
	for i := range x.old {
		b := x.old[i].Load()
		if b != nil {
			slots = append(slots, b[:]...)
			continue
		}
		t.saved.mu.Lock()
		raw, err := t.saved.read(t.saved.slots[i])
		t.saved.mu.Unlock()
		if err != nil {
			return nil, err
		}
		for k := range blockSlots {
			slots = append(slots, binary.LittleEndian.Uint32(raw[4*k:]))
		}
	}
	mask := size - 1
	for _, e := range x.slots {
		if e == 0 {
			continue
		}
		base := t.Base(e - 1)
		h := x.key.sum(base) & mask
		for slots[h] != 0 && string(t.Base(slots[h]-1)) != string(base) {
			h = (h + 1) & mask
		}
		slots[h] = e
	}
	return slots, nil
}

// put enters a row in slots, replacing one with the same hash: since hashes are 64 random
// bits, that row has the same base.
func put(slots []uint32, sums []uint64, n uint32, sum uint64) {
	mask := uint64(len(slots) - 1)
	h := sum & mask
	for slots[h] != 0 && sums[h] != sum {
		h = (h + 1) & mask
	}
	slots[h], sums[h] = n+1, sum
}
