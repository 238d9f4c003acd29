package table

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// saved is the part of a snapshot that is read when it is needed: the pages of
// a table, the slots of its index and the marks of its rows, one after the other in a
// file that does not change. Each has a checksum, and what a page says must be possible, so
// that nothing else than what was written can come out, or nothing.
type saved struct {
	mu    sync.Mutex
	file  *os.File // nil when all was read
	left  int      // pages and blocks that were not read yet
	lost  func()   // called when something could not be read
	pages []chunk
	slots []chunk
	marks chunk // of all rows, see Marks
}

// chunk is a run of octets in the file.
type chunk struct {
	off int64
	len uint32
	sum uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged says that a snapshot is not as it was written.
var ErrDamaged = errors.New("snapshot of the mailbox is damaged")

// rooms holds room for chunks that are decoded as soon as they are read.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// read returns the octets of a chunk.
func (s *saved) read(c chunk) ([]byte, error) { return s.readInto(new([]byte), c) }

// readInto is read into room, which is made larger if need be.
func (s *saved) readInto(room *[]byte, c chunk) ([]byte, error) {
	if s.file == nil {
		return nil, os.ErrClosed
	}
	*room = slices.Grow((*room)[:0], int(c.len))
	b := (*room)[:c.len]
	if n, err := s.file.ReadAt(b, c.off); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = ErrDamaged
		}
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != c.sum {
		return nil, ErrDamaged
	}
	return b, nil
}

// verify reads all chunks.
func (s *saved) verify() error {
	for _, list := range [][]chunk{s.pages, s.slots, {s.marks}} {
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

// Unread counts the parts that were not read yet.
func (t *Table) Unread() int {
	if t.saved == nil {
		return 0
	}
	t.saved.mu.Lock()
	defer t.saved.mu.Unlock()
	return t.saved.left
}

// Broken tells that a part of the table could not be read. Its rows are those of
// messages that are gone then, and nothing may be written that follows from them.
func (t *Table) Broken() bool { return t.broken.Load() }

// Close gives back what the table has open. Parts that were not read by then are
// lost.
func (t *Table) Close() {
	if t.saved != nil {
		t.saved.mu.Lock()
		defer t.saved.mu.Unlock()
		t.saved.close()
	}
}

// LoadAll reads all pages; false if that is not possible.
func (t *Table) LoadAll() bool {
	for n := uint32(0); n < t.n; n += PageRows {
		t.page(n)
	}
	return !t.broken.Load()
}

// load reads page i. Whoever only reads the table may call it.
func (t *Table) load(i uint32) {
	s, p := t.saved, t.pages[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.here.Load() {
		return
	}
	rows := int(min(t.n-i*PageRows, PageRows))
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	b, err := s.readInto(room, s.pages[i])
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
func (t *Table) fail() {
	t.broken.Store(true)
	t.saved.lost()
}

// blank fills the page with messages that are gone.
func (p *page) blank(rows int) {
	p.rows, p.names = make([]Row, rows), nil
	p.alive, p.odd, p.exts = [PageRows / 64]uint64{}, nil, nil
	for i := range p.rows {
		p.rows[i] = Row{UID: p.first + uint32(i), State: Expunged}
	}
}
