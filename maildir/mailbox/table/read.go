package table

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync/atomic"

	"maildird/maildir/octets"
)

// The file of a snapshot, all numbers little-endian, starts with
//
//	 0  magic
//	 8  offset of the head (64 bits)
//	16  length of the head (32 bits) and its CRC-32C (32 bits)
//	24  run of the machine in which it was written (64 bits)
//	32  modification time that the file was given, in nanoseconds (64 bits)
//	40  CRC-32C of the preceding bytes (32 bits), and zero up to 64
//
// It is followed by the pages, the slots of the index, the marks of the rows, and the head.
// The head has the owner's state, the key of the index, and the positions of each page,
// each block of slots and the marks. It is read completely: it takes 20 bytes for 256
// messages.
const (
	snapMagic = "MDTABLE\x04"
	snapFront = 64
	maxHead   = 64 << 20
	// MaxRows is the maximum number of rows in a snapshot.
	MaxRows = 1 << 23
)

// Read opens a snapshot in this run of the machine. The table takes ownership of the file
// unless there is an error: ErrDamaged, or one from reading. Read calls state to decode the
// state of the owner that was passed to Write, which is at the start of the head, and
// returns that state undecoded in own. lost is called once, in any goroutine, with the
// reason if parts of the table cannot be read later. whole reports whether the file is as
// it was written in this run; if not, all of it was verified.
func Read(file *os.File, run uint64, state func(*octets.Decoder), lost func(error)) (t *Table, own []byte, whole bool, err error) {
	head, whole, err := readHead(file, run)
	if err != nil {
		return nil, nil, false, err
	}
	d := &octets.Decoder{Rest: head}
	state(d)
	own = head[:len(head)-len(d.Rest)]
	if t, err = takeTable(d, file); err != nil {
		return nil, nil, false, err
	}
	t.saved.lost = lost
	if !whole {
		if err := t.saved.verify(); err != nil {
			return nil, nil, false, err
		}
	}
	if t.saved.left == 0 {
		t.saved.close()
	}
	return t, own, whole, nil
}

// readHead reads the head. whole reports whether the file is as it was written in this run.
func readHead(file *os.File, run uint64) (head []byte, whole bool, err error) {
	var front [snapFront]byte
	if _, err := file.ReadAt(front[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	d := octets.Decoder{Rest: front[8:]}
	c := chunk{off: int64(d.U64()), len: d.U32(), sum: d.U32()}
	wrote, mtime := d.U64(), int64(d.U64())
	st, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	if string(front[:8]) != snapMagic || d.U32() != crc32.Checksum(front[:40], castagnoli) ||
		c.len > maxHead || c.off < snapFront || c.off+int64(c.len) != st.Size() {
		return nil, false, ErrDamaged
	}
	head, err = (&saved{file: file}).read(c)
	return head, wrote == run && st.ModTime().UnixNano() == mtime, err
}

// takeTable decodes the head's description of the table.
func takeTable(d *octets.Decoder, file *os.File) (*Table, error) {
	t := &Table{saved: &saved{file: file}}
	t.index.key = hashKey{d.U64(), d.U64()}
	t.n = d.U32()
	pages := d.Count(20)
	if t.n == 0 || t.n > MaxRows || pages != int((t.n+PageRows-1)/PageRows) {
		return nil, ErrDamaged
	}
	t.pages, t.alive = make([]*page, pages), make([]uint32, pages)
	all := make([]page, pages)
	off, before := int64(snapFront), uint32(0)
	t.saved.pages = make([]chunk, pages)
	for i := range all {
		p := &all[i]
		c := chunk{off: off, len: d.U32(), sum: d.U32()}
		off += int64(c.len)
		p.first = d.U32()
		p.Counts = Counts{d.U16(), d.U16(), d.U16(), d.U16()}
		rows := min(t.n-uint32(i)*PageRows, PageRows)
		if p.first <= before || uint32(p.Present) > rows || c.len > maxPage {
			return nil, ErrDamaged
		}
		before = p.first + rows - 1
		if before < p.first {
			return nil, ErrDamaged
		}
		t.pages[i], t.saved.pages[i] = p, c
		t.count += uint32(p.Present)
		t.alive[i] += uint32(p.Present)
		if up := i + 1 + int(lowbit(uint32(i+1))); up <= pages {
			t.alive[up-1] += t.alive[i]
		}
	}
	blocks := d.Count(4)
	if blocks == 0 || blocks&(blocks-1) != 0 {
		return nil, ErrDamaged
	}
	t.index.old, t.saved.slots = make([]atomic.Pointer[slotBlock], blocks), make([]chunk, blocks)
	for i := range blocks {
		t.saved.slots[i] = chunk{off, 4 * blockSlots, d.U32()}
		off += 4 * blockSlots
	}
	t.saved.marks = chunk{off, markSize * t.n, d.U32()}
	t.saved.left = pages + blocks
	if d.Bad || len(d.Rest) > 0 {
		return nil, ErrDamaged
	}
	return t, nil
}

// maxPage is an upper bound for the size of a page: rows, names, odd names, fields.
const maxPage = PageRows * (rowSize + 255 + 3 + 255 + 3 + 1<<16)
