package table

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// saved is the part of a snapshot that is read when needed: the pages of a table, the slots
// of its index and the marks of its rows, one after another in a file that does not change.
// Each has a checksum, and the contents of a page are validated, so that the result is what
// was written or nothing.
type saved struct {
	mu    sync.Mutex
	file  *os.File    // nil once everything was read
	left  int         // number of pages and blocks that were not read yet
	lost  func(error) // called when something could not be read
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

// ErrDamaged means that a snapshot is not as it was written.
var ErrDamaged = errors.New("snapshot of the mailbox is damaged")

// rooms holds buffers for chunks that are decoded as soon as they are read.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// read returns the octets of a chunk.
func (s *saved) read(c chunk) ([]byte, error) { return s.readInto(new([]byte), c) }

// readInto is read with a buffer, which is enlarged if necessary.
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

// done counts down what is left to read, and closes the file after the last part. s.mu is
// held.
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

// Unread returns the number of parts that were not read yet.
func (t *Table) Unread() int {
	if t.saved == nil {
		return 0
	}
	t.saved.mu.Lock()
	defer t.saved.mu.Unlock()
	return t.saved.left
}

// Broken reports whether a part of the table could not be read. Its rows then count as
// those of messages that are gone, and nothing that follows from them may be written.
func (t *Table) Broken() bool { return t.broken.Load() }

// Close closes the table's file. Parts that were not read by then are lost.
func (t *Table) Close() {
	if t.saved != nil {
		t.saved.mu.Lock()
		defer t.saved.mu.Unlock()
		t.saved.close()
	}
}

// LoadAll reads all pages, and reports whether that was possible.
func (t *Table) LoadAll() bool {
	for n := uint32(0); n < t.n; n += PageRows {
		t.page(n)
	}
	return !t.broken.Load()
}

// load reads page i. It may be called by readers of the table.
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
		t.fail(err)
		p.blank(rows)
	}
	p.here.Store(true)
	s.done()
}

// fail records that part of the table cannot be read, and reports the first time. saved.mu
// is held.
func (t *Table) fail(err error) {
	if !t.broken.Swap(true) {
		t.saved.lost(err)
	}
}

// blank fills the page with rows of messages that are gone.
func (p *page) blank(rows int) {
	p.rows, p.names = make([]Row, rows), nil
	p.alive, p.odd, p.exts = [PageRows / 64]uint64{}, nil, nil
	for i := range p.rows {
		p.rows[i] = Row{UID: p.first + uint32(i), State: Expunged}
	}
}
