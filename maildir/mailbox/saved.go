package mailbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"maildird/maildir/filename"
)

// saved is the part of a snapshot that is read when it is needed: the pages of
// a table and the slots of its index, one after the other in a file that does
// not change. Each has a checksum, and what a page says must be possible, so
// that nothing else than what was written can come out, or nothing.
type saved struct {
	mu    sync.Mutex
	file  *os.File // nil when all was read
	left  int      // pages and blocks that were not read yet
	lost  func()   // called when something could not be read
	pages []chunk
	slots []chunk
}

// chunk is a run of octets in the file.
type chunk struct {
	off int64
	len uint32
	sum uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSnapshot = errors.New("snapshot of the mailbox is damaged")

// read returns the octets of a chunk.
func (s *saved) read(c chunk) ([]byte, error) {
	if s.file == nil {
		return nil, os.ErrClosed
	}
	b := make([]byte, c.len)
	if n, err := s.file.ReadAt(b, c.off); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = errSnapshot
		}
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != c.sum {
		return nil, errSnapshot
	}
	return b, nil
}

// verify reads all chunks.
func (s *saved) verify() error {
	for _, list := range [][]chunk{s.pages, s.slots} {
		for _, c := range list {
			if _, err := s.read(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// done counts what was read, and closes the file after the last. s.mu is held.
func (s *saved) done() {
	if s.left--; s.left == 0 {
		s.close()
	}
}

func (s *saved) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// close gives back what the table has open.
func (t *table) close() {
	if t.saved != nil {
		t.saved.mu.Lock()
		defer t.saved.mu.Unlock()
		t.saved.close()
	}
}

// loadAll reads all pages; false if that is not possible.
func (t *table) loadAll() bool {
	for n := uint32(0); n < t.n; n += pageRows {
		t.page(n)
	}
	return !t.broken.Load()
}

// loadTable reads all of the table; false if that is not possible.
func (m *Mailbox) loadTable() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.t.loadAll()
}

// load reads page i. Whoever only reads the table may call it.
func (t *table) load(i uint32) {
	s, p := t.saved, t.pages[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.here.Load() {
		return
	}
	rows := int(min(t.n-i*pageRows, pageRows))
	b, err := s.read(s.pages[i])
	if err == nil {
		err = p.decode(b, rows)
	}
	if err != nil {
		t.fail()
		p.blank(rows)
	}
	p.here.Store(true)
	s.done()
}

// fail notes that not all of the table can be read. saved.mu is held.
func (t *table) fail() {
	t.broken.Store(true)
	if t.saved.lost != nil {
		t.saved.lost()
	}
}

// blank fills the page with messages that are gone.
func (p *page) blank(rows int) {
	p.rows, p.names = make([]row, rows), nil
	p.alive, p.odd, p.exts = [pageRows / 64]uint64{}, nil, nil
	for i := range p.rows {
		p.rows[i] = row{uid: p.first + uint32(i), state: expunged}
	}
}

// slotBlock is a run of slots of the index.
type slotBlock [blockSlots]uint32

const blockSlots = 1024

// lookupOld finds the row of a base in what the snapshot has of the index.
func (t *table) lookupOld(sum uint64, base string) (uint32, bool) {
	blocks := uint64(len(t.index.old))
	if blocks == 0 {
		return 0, false
	}
	mask := blocks*blockSlots - 1
	for h, tried := sum&mask, uint64(0); tried <= mask; h, tried = (h+1)&mask, tried+1 {
		e := t.block(h / blockSlots)[h%blockSlots]
		if e == 0 || e > t.n {
			return 0, false
		}
		if string(t.base(e-1)) == base {
			return e - 1, true
		}
	}
	return 0, false
}

// block returns a block of slots, which is read if need be.
func (t *table) block(i uint64) *slotBlock {
	if b := t.index.old[i].Load(); b != nil {
		return b
	}
	s := t.saved
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := t.index.old[i].Load(); b != nil {
		return b
	}
	block := new(slotBlock)
	if raw, err := s.read(s.slots[i]); err != nil {
		t.fail()
	} else {
		for k := range block {
			block[k] = binary.LittleEndian.Uint32(raw[4*k:])
		}
	}
	t.index.old[i].Store(block)
	s.done()
	return block
}

// A page in the file, all numbers little-endian: for each row its UID (32 bits),
// flags (32), mod-sequence (64), save date (32), length of its base (8), and state, place, form
// and whether it is unsettled (8); then the bases, one after the other; then the
// odd names and the fields of records: the number of the row (8), the length
// (16), and the text, each list after the number of its texts (16).
const rowSize = 22

// encode appends the page in the form of the file.
func (p *page) encode(b []byte) []byte {
	le := binary.LittleEndian
	for i := range p.rows {
		r := &p.rows[i]
		b = le.AppendUint32(b, r.uid)
		b = le.AppendUint32(b, uint32(r.flags))
		b = le.AppendUint64(b, r.modseq)
		b = le.AppendUint32(b, r.saved)
		bits := uint8(r.state) | uint8(r.where)<<2 | uint8(r.form)<<3
		if r.unsettled {
			bits |= 1 << 5
		}
		b = append(b, r.len, bits)
	}
	b = append(b, p.names...)
	for _, texts := range []map[uint8]string{p.odd, p.exts} {
		b = le.AppendUint16(b, uint16(len(texts)))
		for i := range p.rows {
			if s, ok := texts[uint8(i)]; ok {
				b = append(b, uint8(i))
				b = le.AppendUint16(b, uint16(len(s)))
				b = append(b, s...)
			}
		}
	}
	return b
}

// decode fills the page, which has this many rows, and compares what it finds
// with what the page says of all of them.
func (p *page) decode(b []byte, rows int) error {
	in := decoder{b: b}
	var found counts // others read the page's own meanwhile
	p.rows = make([]row, rows)
	names, before := 0, uint32(0)
	for i := range p.rows {
		r := &p.rows[i]
		*r = row{uid: in.u32(), flags: filename.Flags(in.u32()), modseq: in.u64(), saved: in.u32(), name: uint16(names), len: in.u8()}
		bits := in.u8()
		r.state, r.where, r.form = rowState(bits&3), place(bits>>2&1), form(bits>>3&3)
		r.unsettled = bits&(1<<5) != 0
		r.recent = r.where == inNew // as when the folder is opened without a snapshot
		if r.uid <= before || r.state > expunged || r.form > formOdd || r.len == 0 {
			in.bad = true
		}
		before = r.uid
		names += int(r.len)
		if r.state == present {
			p.alive[i/64] |= 1 << (i % 64)
		}
		found.tally(r, 1)
	}
	p.names = bytes.Clone(in.take(names))
	p.odd, p.exts = in.texts(rows), in.texts(rows)
	for i := range p.rows {
		_, odd := p.odd[uint8(i)]
		in.bad = in.bad || odd != (p.rows[i].form == formOdd)
	}
	if in.bad || len(in.b) > 0 || found != p.counts || p.rows[0].uid != p.first {
		return errSnapshot
	}
	return nil
}

// decoder takes numbers and texts off b. After one that is not there, bad is set
// and all are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// texts takes texts of so many rows, each of which has one at most.
func (d *decoder) texts(rows int) map[uint8]string {
	n := int(d.u16())
	if n > rows {
		d.bad = true
	}
	if n == 0 || d.bad {
		return nil
	}
	texts := make(map[uint8]string, n)
	for range n {
		i := d.u8()
		s := string(d.take(int(d.u16())))
		if _, again := texts[i]; again || int(i) >= rows {
			d.bad = true
		}
		texts[i] = s
	}
	return texts
}
