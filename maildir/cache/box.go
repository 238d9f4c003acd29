package cache

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Box is what is cached of one open mailbox. Its messages are identified by rows, which the
// mailbox assigns and which do not change while it is open. Sizes and dates are in memory,
// 40 bytes per message once one of them is known; the rest is read from the files. A Box is
// safe for concurrent use.
type Box struct {
	s *Store

	mu      sync.RWMutex
	facts   []fact // by row
	id      ID
	resolve Resolve
	look    Look
	files   *pair // nil: none yet
	retry   time.Time
	closed  bool
	forgot  uint64 // see Forgotten
	// unwritten are rows that were outdated while there were no files to record it.
	unwritten map[uint32]Key

	// Data that is yet to be written.
	data     []byte
	adds     []addition
	flushing bool
}

// Resolve returns the row of a UID, the sum of its base, and the Source.Inode of its file
// as far as the mailbox knows, 0 if it does not. ok is false if the mailbox does not have
// the UID.
type Resolve func(uid uint32) (row uint32, base uint64, inode uint32, ok bool)

// Look examines the file of a row. ok is false if it is not where the mailbox has it.
type Look func(row uint32) (file Source, mtime time.Time, ok bool)

// fact is what is known of a row. The zero value means nothing.
type fact struct {
	virtual int64 // plus one
	mtime   int64
	off     int64 // of the record in the data file, and its length; 0 if there is none
	len     uint32
	source  Source
	has     Kinds
	dated   bool // mtime is known
}

// addition is an entry that is yet to be written, with the place of its record in Box.data.
type addition struct {
	row uint32
	entry
}

// Additions are written once there are this many.
const (
	flushBytes   = 512 << 10
	flushEntries = 4096
)

// factsAtOnce limits the memory that is allocated for the entries that an index claims to
// have.
const factsAtOnce = 1 << 18

// retryAfter is how long to wait after files could not be opened or written.
const retryAfter = time.Minute

// NewBox returns a Box without files: see Open.
func (s *Store) NewBox() *Box { return &Box{s: s} }

// Open reads what the files have of the mailbox, and when called again, what other
// processes have added since. It is cheap if there is nothing new. If the data of a message
// came from a file with another inode number, it is used only if look finds the recorded
// length and time, as is the case for a Maildir that was copied.
func (b *Box) Open(id ID, resolve Resolve, look Look) {
	if b.s.dir == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.id, b.resolve, b.look = id, resolve, look
	if b.files == nil {
		p, err := b.s.openPair(id)
		if err != nil {
			if !missing(err) && !errors.Is(err, errUnusable) {
				b.fail(err)
			}
			return
		}
		b.files = p
	}
	b.load()
}

// load reads the entries that were not read yet. b.mu is held.
func (b *Box) load() {
	if b.facts == nil { // room for all: growing it would copy it repeatedly
		b.facts = make([]fact, 0, min(b.files.entries(), factsAtOnce))
	}
	var doubts []doubt
	err := b.files.each(func(e entry) {
		row, base, inode, ok := b.resolve(e.key.UID)
		if ok && base == e.key.Base {
			b.take(row, &e)
			if inode == 0 || inode != e.source.Inode {
				doubts = append(doubts, doubt{row, inode, e.key})
			}
		}
	})
	if err != nil {
		b.fail(err)
		return
	}
	b.settle(doubts)
	for row, key := range b.unwritten {
		b.outdate(row, key)
	}
	b.unwritten = nil
}

// take applies an entry to what is known of a row. b.mu is held.
func (b *Box) take(row uint32, e *entry) {
	f := b.row(row)
	if e.has&outdated != 0 {
		b.clear(f)
		return
	}
	if f.differs(e.source, e.mtime) {
		b.clear(f)
	}
	if e.mtime != noTime {
		f.mtime, f.dated = e.mtime, true
	}
	if e.source != (Source{}) {
		f.source = e.source
	}
	if e.virtual >= 0 {
		f.virtual = e.virtual + 1
	}
	if e.len > 0 {
		f.off, f.len, f.has = e.off, e.len, e.has
	}
}

// row returns a pointer to a row's fact. b.mu is held.
func (b *Box) row(row uint32) *fact {
	if n := int(row) + 1; n > len(b.facts) {
		b.facts = append(b.facts, make([]fact, n-len(b.facts))...)
	}
	return &b.facts[row]
}

// fact returns what is known of a row. b.mu is held for reading.
func (b *Box) fact(row uint32) fact {
	if int(row) < len(b.facts) {
		return b.facts[row]
	}
	return fact{}
}

// Size returns the size of a message in octets with CRLF line ends, if it is known.
func (b *Box) Size(row uint32) (int64, bool) {
	b.mu.RLock()
	f := b.fact(row)
	b.mu.RUnlock()
	return f.virtual - 1, f.virtual > 0
}

// Date returns the modification time of a message's file, if it is known.
func (b *Box) Date(row uint32) (time.Time, bool) {
	b.mu.RLock()
	f := b.fact(row)
	b.mu.RUnlock()
	if !f.dated {
		return time.Time{}, false
	}
	return time.Unix(0, f.mtime), true
}

// Kinds returns the kinds of data that can be read of a message.
func (b *Box) Kinds(row uint32) Kinds {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.fact(row).has
}

// Fact is what is known of a row without reading the files.
type Fact struct {
	Has     Kinds
	Virtual int64 // octets with CRLF line ends, negative if unknown
	Mtime   int64 // of the text, in nanoseconds since 1970, if Dated
	Dated   bool
}

// Facts calls emit with the facts of n rows; row returns the i-th row. Neither function may
// use the Box.
func (b *Box) Facts(n int, row func(i int) uint32, emit func(i int, f Fact)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for i := range n {
		f := b.fact(row(i))
		emit(i, Fact{Has: f.has, Virtual: f.virtual - 1, Mtime: f.mtime, Dated: f.dated})
	}
}

// Keeps reports whether Add has any effect beyond sizes and dates.
func (b *Box) Keeps() bool { return b.s.dir != "" }

// SetSize records, for the life of the Box, the size of a message in octets with CRLF line
// ends, as counted in the file of.
func (b *Box) SetSize(row uint32, n int64, of Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(row, &entry{mtime: noTime, virtual: n, source: of})
}

// Forget drops what is known of a row whose message is gone or is a different one.
func (b *Box) Forget(row uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(row) < len(b.facts) {
		b.clear(&b.facts[row])
	}
}

// clear drops a row's fact. b.mu is held.
func (b *Box) clear(f *fact) {
	if *f != (fact{}) {
		*f = fact{}
		b.forgot++
	}
}

// Outdate is Forget for a message that continues with another text. That is recorded in the
// files, so that nobody who reads them takes their older data for that of the new text.
func (b *Box) Outdate(row uint32, key Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files != nil {
		b.outdate(row, key)
		return
	}
	b.clear(b.row(row))
	b.noteOutdated(row, key)
}

func (b *Box) noteOutdated(row uint32, key Key) {
	if b.unwritten == nil {
		b.unwritten = map[uint32]Key{}
	}
	b.unwritten[row] = key
}

// outdate is Outdate if there are files. b.mu is held.
func (b *Box) outdate(row uint32, key Key) {
	b.clear(b.row(row))
	b.adds = append(b.adds, addition{row, entry{key: key, has: outdated, mtime: noTime, virtual: -1}})
}

// Unwritten reports whether Outdate was called while there were no files to record it, as
// before Open.
func (b *Box) Unwritten() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.unwritten) > 0
}

// Forgotten returns how often something known of a text was dropped: whatever was derived
// from it before may be wrong.
func (b *Box) Forgotten() uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.forgot
}

// Add caches what r has, unless all of it is cached already. It is written together with
// other additions, see Flush.
func (b *Box) Add(row uint32, key Key, r *Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.row(row)
	e := entry{key: key, has: r.has, mtime: nanoseconds(r.Mtime), virtual: r.Virtual, source: r.Source}
	known := (f.dated && f.mtime == e.mtime || e.mtime == noTime) && (f.virtual > 0 || e.virtual < 0) && r.has&^f.has == 0 &&
		(f.source == e.source || e.source == Source{})
	b.take(row, &entry{mtime: e.mtime, virtual: e.virtual, source: e.source})
	if known || !b.writable() {
		return
	}
	if r.has != 0 {
		e.off = int64(len(b.data))
		b.data = appendRecord(b.data, b.files.number, key, r)
		e.len = uint32(len(b.data) - int(e.off))
	}
	b.adds = append(b.adds, addition{row, e})
	if len(b.data) >= flushBytes || len(b.adds) >= flushEntries {
		b.flush()
	}
}

// writable creates files if there are none, and reports whether they can be added to. b.mu
// is held.
func (b *Box) writable() bool {
	if b.closed || b.resolve == nil || b.files == nil && time.Now().Before(b.retry) {
		return false
	}
	if b.files != nil {
		return !b.files.large
	}
	p, err := b.s.openPair(b.id)
	if missing(err) || errors.Is(err, errUnusable) {
		if p, err = b.s.createPair(b.id); err == nil {
			if err = b.s.place(p); err != nil {
				p.abandon()
			} else {
				unlock(p.index)
			}
		}
	}
	if err != nil {
		b.fail(err)
		return false
	}
	b.files = p
	b.load()
	return b.files != nil
}

// fail stops using the files for a while. b.mu is held.
func (b *Box) fail(err error) {
	b.s.failed(err)
	b.drop()
	b.retry = time.Now().Add(retryAfter)
}

// drop closes the files and forgets what is in them. b.mu is held.
func (b *Box) drop() {
	if b.files != nil {
		b.files.close()
	}
	b.keepOutdated()
	b.files, b.data, b.adds = nil, b.data[:0], b.adds[:0]
	b.forgot++
	for i := range b.facts {
		f := &b.facts[i]
		f.off, f.len, f.has = 0, 0, 0
	}
}

// Flush writes what was added. It should be called at the end of a command.
func (b *Box) Flush() {
	b.mu.RLock()
	idle := len(b.adds) == 0
	b.mu.RUnlock()
	if idle {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	b.data, b.adds = nil, nil // they may not be needed again for long
}

// flush writes what was added. If another process is writing, or has replaced the files, it
// drops the additions instead. What is outdated is recorded even if the files may not grow.
// b.mu is held.
func (b *Box) flush() {
	if b.files == nil || len(b.adds) == 0 {
		return
	}
	b.flushing = true
	defer func() { b.data, b.adds, b.flushing = b.data[:0], b.adds[:0], false }()
	ok, err := lock(b.files.index)
	if err != nil {
		b.fail(err)
		return
	}
	if !ok {
		b.keepOutdated()
		return
	}
	if !b.s.current(b.files) {
		b.drop()
		return
	}
	defer unlock(b.files.index)
	b.load()
	if b.files == nil {
		return
	}
	if !b.allowed() {
		b.adds = slices.DeleteFunc(b.adds, func(a addition) bool { return a.has&outdated == 0 })
		b.data = b.data[:0]
		if len(b.adds) == 0 {
			return
		}
	}
	entries := make([]entry, len(b.adds))
	for i := range b.adds {
		entries[i] = b.adds[i].entry
	}
	if err := b.files.add(b.data, entries); err != nil {
		if slices.ContainsFunc(entries, func(e entry) bool { return e.has&outdated != 0 }) {
			b.s.remove(b.files.name) // what is outdated must not be read again
		}
		b.fail(err)
		return
	}
	var outdatedAt map[uint32]int // by row: entries before this one are of another text
	for i := range entries {
		if entries[i].has&outdated != 0 {
			if outdatedAt == nil {
				outdatedAt = map[uint32]int{}
			}
			outdatedAt[b.adds[i].row] = i
		}
	}
	for i := range entries {
		if at, ok := outdatedAt[b.adds[i].row]; !ok || i > at {
			b.take(b.adds[i].row, &entries[i])
		}
	}
	b.s.wrote(int64(len(b.data) + len(entries)*entrySize))
}

// keepOutdated remembers for the next files what is outdated; the rest is dropped. b.mu is held.
func (b *Box) keepOutdated() {
	for i := range b.adds {
		if a := &b.adds[i]; a.has&outdated != 0 {
			b.noteOutdated(a.row, a.key)
		}
	}
}

// allowed reports whether the files may grow. b.mu is held.
func (b *Box) allowed() bool {
	n, err := size(b.files.data)
	b.files.large = err != nil || n+int64(len(b.data)) > b.s.max/2
	return !b.files.large && roomy(b.files.data)
}

// Close writes what was added and closes the files. If most of their contents belong to
// messages that are gone, they are compacted later.
func (b *Box) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.flush()
	b.closed = true
	if len(b.unwritten) > 0 && b.resolve != nil {
		b.s.remove(b.id.name()) // what is outdated must not be read again
	}
	if b.files == nil {
		return
	}
	if job := b.compaction(); job != nil {
		b.s.background(job.run)
	}
	b.files.close()
	b.files, b.facts, b.data, b.adds = nil, nil, nil, nil
}
