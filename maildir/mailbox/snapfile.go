package mailbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"maildird/maildir/filename"
)

// The file of a snapshot, all numbers little-endian, begins with
//
//	 0  magic
//	 8  offset of the head (64 bits)
//	16  length of the head (32 bits) and its CRC-32C (32 bits)
//	24  run of the machine in which it was written (64 bits)
//	32  modification time that the file was given, in nanoseconds (64 bits)
//	40  CRC-32C of what comes before (32 bits), and zero up to 64
//
// then come the pages, the slots of the index, and the head: the state, the key
// of the index, and of each page and block of slots where it is. A head is read
// as a whole: it takes 20 bytes for 256 messages.
const (
	snapMagic = "MDTABLE\x01"
	snapFront = 64
	maxHead   = 64 << 20
	// maxSaved is how many rows a snapshot has at most.
	maxSaved = 1 << 23
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (s *state) encode() []byte {
	le := binary.LittleEndian
	var b []byte
	flag := func(f bool) {
		if f {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	text := func(s string) {
		b = le.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	list := func(l []uint32) {
		b = le.AppendUint32(b, uint32(len(l)))
		for _, n := range l {
			b = le.AppendUint32(b, n)
		}
	}
	for _, n := range []uint64{s.run, s.folder.Dev, s.folder.Ino,
		s.new.Dev, s.new.Ino, uint64(s.new.mtime), uint64(s.new.ctime),
		s.cur.Dev, s.cur.Ino, uint64(s.cur.mtime), uint64(s.cur.ctime), s.highest} {
		b = le.AppendUint64(b, n)
	}
	flag(s.settled)
	flag(s.lasting)
	b = le.AppendUint32(b, s.validity)
	b = le.AppendUint32(b, s.uidNext)
	b = le.AppendUint32(b, s.accounted)
	text(s.guid)
	text(string(s.list))
	text(string(s.hist))
	for _, name := range s.names {
		text(name)
	}
	list(s.inNew)
	list(s.unsettled)
	list(s.dated)
	list(s.strays)
	b = le.AppendUint32(b, uint32(len(s.was)))
	for _, p := range s.was {
		b = le.AppendUint32(b, p.row)
		b = le.AppendUint32(b, uint32(p.flags))
	}
	return b
}

func (d *decoder) state() *state {
	s := &state{}
	for _, n := range []*uint64{&s.run, &s.folder.Dev, &s.folder.Ino} {
		*n = d.u64()
	}
	for _, p := range []*dirState{&s.new, &s.cur} {
		p.Dev, p.Ino, p.mtime, p.ctime = d.u64(), d.u64(), int64(d.u64()), int64(d.u64())
	}
	s.highest = d.u64()
	s.settled, s.lasting = d.u8() == 1, d.u8() == 1
	s.validity, s.uidNext, s.accounted = d.u32(), d.u32(), d.u32()
	s.guid, s.list, s.hist = string(d.text()), d.text(), d.text()
	for i := range s.names {
		s.names[i] = string(d.text())
	}
	s.inNew, s.unsettled, s.dated, s.strays = d.numbers(), d.numbers(), d.numbers(), d.numbers()
	for range d.count(8) {
		p := pastFlags{row: d.u32()}
		p.flags = filename.Flags(d.u32())
		s.was = append(s.was, p)
	}
	return s
}

func (d *decoder) text() []byte { return d.take(int(d.u32())) }

// count takes the number of things that follow, each of so many octets.
func (d *decoder) count(size int) int {
	n := int(d.u32())
	if n > len(d.b)/size {
		d.bad, n = true, 0
	}
	return n
}

func (d *decoder) numbers() []uint32 {
	n := d.count(4)
	if n == 0 {
		return nil
	}
	l := make([]uint32, n)
	for i := range l {
		l[i] = d.u32()
	}
	return l
}

// below tells whether all rows of a list exist.
func below(rows []uint32, n uint32) bool {
	return !slices.ContainsFunc(rows, func(r uint32) bool { return r >= n })
}

// readSnapshot opens a snapshot. The file belongs to the table then. raw is the
// state in the form of the file.
func readSnapshot(file *os.File, run uint64) (s *state, t *table, raw []byte, err error) {
	head, whole, err := readHead(file, run)
	if err != nil {
		return nil, nil, nil, err
	}
	d := &decoder{b: head}
	s = d.state()
	raw = head[:len(head)-len(d.b)]
	if t, err = d.table(file); err != nil {
		return nil, nil, nil, err
	}
	past := make([]uint32, len(s.was))
	for i, p := range s.was {
		past[i] = p.row
	}
	if whole && s.run != run || !below(s.inNew, t.n) || !below(s.unsettled, t.n) || !below(s.dated, t.n) || !below(past, t.n) {
		return nil, nil, nil, errSnapshot
	}
	if !whole {
		if err := t.saved.verify(); err != nil {
			return nil, nil, nil, err
		}
	}
	if t.saved.left == 0 {
		t.saved.close()
	}
	return s, t, raw, nil
}

// readHead reads the head. whole says that the file is as it was written.
func readHead(file *os.File, run uint64) (head []byte, whole bool, err error) {
	var front [snapFront]byte
	if _, err := file.ReadAt(front[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	d := decoder{b: front[8:]}
	c := chunk{off: int64(d.u64()), len: d.u32(), sum: d.u32()}
	wrote, mtime := d.u64(), int64(d.u64())
	st, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	if string(front[:8]) != snapMagic || d.u32() != crc32.Checksum(front[:40], castagnoli) ||
		c.len > maxHead || c.off < snapFront || c.off+int64(c.len) != st.Size() {
		return nil, false, errSnapshot
	}
	head, err = (&saved{file: file}).read(c)
	return head, wrote == run && st.ModTime().UnixNano() == mtime, err
}

// table takes the head's description of the table.
func (d *decoder) table(file *os.File) (*table, error) {
	t := &table{saved: &saved{file: file}}
	t.index.key = hashKey{d.u64(), d.u64()}
	t.n = d.u32()
	pages := d.count(20)
	if t.n == 0 || t.n > maxSaved || pages != int((t.n+pageRows-1)/pageRows) {
		return nil, errSnapshot
	}
	t.pages, t.alive = make([]*page, pages), make([]uint32, pages)
	all := make([]page, pages)
	off, before := int64(snapFront), uint32(0)
	t.saved.pages = make([]chunk, pages)
	for i := range all {
		p := &all[i]
		c := chunk{off: off, len: d.u32(), sum: d.u32()}
		off += int64(c.len)
		p.first = d.u32()
		p.counts = counts{d.u16(), d.u16(), d.u16(), d.u16()}
		rows := min(t.n-uint32(i)*pageRows, pageRows)
		if p.first <= before || uint32(p.present) > rows || c.len > maxPage {
			return nil, errSnapshot
		}
		before = p.first + rows - 1
		if before < p.first {
			return nil, errSnapshot
		}
		t.pages[i], t.saved.pages[i] = p, c
		t.count += uint32(p.present)
		t.alive[i] += uint32(p.present)
		if up := i + 1 + int(lowbit(uint32(i+1))); up <= pages {
			t.alive[up-1] += t.alive[i]
		}
	}
	blocks := d.count(4)
	if blocks == 0 || blocks&(blocks-1) != 0 {
		return nil, errSnapshot
	}
	t.index.old, t.saved.slots = make([]atomic.Pointer[slotBlock], blocks), make([]chunk, blocks)
	for i := range blocks {
		t.saved.slots[i] = chunk{off, 4 * blockSlots, d.u32()}
		off += 4 * blockSlots
	}
	t.saved.left = pages + blocks
	if d.bad || len(d.b) > 0 {
		return nil, errSnapshot
	}
	return t, nil
}

// maxPage is more than a page has: rows, names, odd names, fields.
const maxPage = pageRows * (rowSize + 255 + 3 + 255 + 3 + 1<<16)
