package cache

import "sync"

// Window reads records one after another. A result is valid until the next read. A Window
// must be used by one goroutine at a time, and closed when done.
type Window struct {
	of   *pair
	off  int64
	buf  []byte  // the contents of the data file at off
	next int64   // where the record after the last one starts
	room *[]byte // from windowRooms
}

// windowBytes is how much is read at once of consecutive records.
const windowBytes = 256 << 10

var windowRooms = sync.Pool{New: func() any { b := make([]byte, windowBytes); return &b }}

// Close releases the buffer.
func (w *Window) Close() {
	if w.room != nil {
		windowRooms.Put(w.room)
	}
	*w = Window{}
}

// Read returns the record of a message. Its octets belong to the Window.
func (b *Box) Read(w *Window, row uint32, key Key) (Record, bool) {
	b.mu.RLock()
	f, p := b.fact(row), b.files
	if f.len == 0 || p == nil {
		b.mu.RUnlock()
		return Record{}, false
	}
	raw := w.at(p, f.off, int(f.len))
	b.mu.RUnlock()
	if raw != nil {
		if r, ok := parseRecord(raw, p.number, key); ok {
			r.Source = f.source
			return r, true
		}
	}
	// A record that could not be read is not tried again.
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.row(row); now.off == f.off && b.files == p {
		now.off, now.len, now.has = 0, 0, 0
	}
	return Record{}, false
}

// at returns n bytes of the data file at off, nil if they cannot be read.
func (w *Window) at(p *pair, off int64, n int) []byte {
	if n > maxRecord {
		return nil
	}
	if w.of != p || off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		if w.room == nil {
			w.room = windowRooms.Get().(*[]byte)
		}
		want := n
		if w.of == p && off >= w.next && off < w.next+windowBytes {
			want = windowBytes // they are read consecutively
		}
		got, _ := p.data.ReadAt((*w.room)[:want], off)
		w.of, w.off, w.buf = p, off, (*w.room)[:got]
		if got < n {
			return nil
		}
	}
	w.next = off + int64(n)
	from := int(off - w.off)
	return w.buf[from : from+n]
}
