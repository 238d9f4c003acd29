package cache

import (
	"errors"
	"sync"
	"time"
)

// Box is what is kept of one open mailbox. Its messages are numbered by rows,
// which the mailbox hands out and which do not change while it is open. Sizes
// and dates are in memory, 40 bytes a message once one of them is known;
// the rest is read from the files. Safe for concurrent use.
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
	// unwritten are rows that were outdated before there were files to tell.
	unwritten map[uint32]Key

	// What is to be written.
	data     []byte
	adds     []addition
	flushing bool
}

// Resolve finds the row of a UID, the sum of its base, and the Source.Inode of its file
// as far as the mailbox knows, 0 if it does not; ok is false if the mailbox does not
// have it.
type Resolve func(uid uint32) (row uint32, base uint64, inode uint32, ok bool)

// Look looks at the file of a row; ok is false if it is not where the mailbox has it.
type Look func(row uint32) (file Source, mtime time.Time, ok bool)

// fact is what is known of a row. Zero: nothing.
type fact struct {
	virtual int64 // plus one
	mtime   int64
	off     int64 // of the record, and its length, 0 if there is none
	len     uint32
	source  Source
	has     Kinds
	dated   bool // mtime is known
}

// addition is an entry that is to be written, with the place of its record in
// Box.data.
type addition struct {
	row uint32
	entry
}

// flushBytes is how much is put together before it is written.
const (
	flushBytes   = 512 << 10
	flushEntries = 4096
)

// factsAtOnce bounds the room that is made for what an index says it has.
const factsAtOnce = 1 << 18

// retryAfter is how long nothing is tried after files could not be opened or
// written.
const retryAfter = time.Minute

// NewBox returns a Box without files: see Open.
func (s *Store) NewBox() *Box { return &Box{s: s} }

// Open reads what the files have of the mailbox, and later what other processes
// added since. It is cheap when there is nothing new. What they have of a message whose
// file is another one, by its inode number, counts if look finds the length and the time
// that they have, as of a Maildir that was copied.
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

// load takes over the entries that were not read yet. b.mu is held.
func (b *Box) load() {
	if b.facts == nil { // room for all: to grow is to copy it again and again
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

// take makes an entry what is known of a row. b.mu is held.
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

// row returns a row's fact. b.mu is held.
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

// Size returns the octets of a message in CRLF form, if they are known.
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

// Kinds tells what can be read of a message.
func (b *Box) Kinds(row uint32) Kinds {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.fact(row).has
}

// Fact is what is known of a row without a look at the files.
type Fact struct {
	Has     Kinds
	Virtual int64 // octets in CRLF form, negative if not known
	Mtime   int64 // of the text, in nanoseconds since 1970, if Dated
	Dated   bool
}

// Facts gives the facts of n rows: row tells which is the i-th, and emit gets
// what is known of it. Neither may use the Box.
func (b *Box) Facts(n int, row func(i int) uint32, emit func(i int, f Fact)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for i := range n {
		f := b.fact(row(i))
		emit(i, Fact{Has: f.has, Virtual: f.virtual - 1, Mtime: f.mtime, Dated: f.dated})
	}
}

// Keeps tells whether Add is of any use, beyond sizes and dates.
func (b *Box) Keeps() bool { return b.s.dir != "" }

// SetSize notes the octets of a message in CRLF form, for the life of the Box, as they
// were counted in a file.
func (b *Box) SetSize(row uint32, n int64, of Source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(row, &entry{mtime: noTime, virtual: n, source: of})
}

// Forget drops what is known of a row: its message is gone, or is another one.
func (b *Box) Forget(row uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(row) < len(b.facts) {
		b.clear(&b.facts[row])
	}
}

// clear forgets a row's fact. b.mu is held.
func (b *Box) clear(f *fact) {
	if *f != (fact{}) {
		*f = fact{}
		b.forgot++
	}
}

// Outdate is Forget of a message that goes on with another text. The files are told,
// so that nobody who reads them takes what they have so far for that text.
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

// outdate is Outdate where there are files. b.mu is held.
func (b *Box) outdate(row uint32, key Key) {
	b.clear(b.row(row))
	b.adds = append(b.adds, addition{row, entry{key: key, has: outdated, mtime: noTime, virtual: -1}})
}

// Unwritten tells whether Outdate was called and no files were told, as before Open.
func (b *Box) Unwritten() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.unwritten) > 0
}

// Forgotten counts how often what was known of any text was forgotten: what was made
// of it before may be wrong.
func (b *Box) Forgotten() uint64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.forgot
}

// Add keeps what r has, unless all of it is kept already. It is written with
// much else, see Flush.
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

// writable makes files if there are none, and tells whether there are some.
// b.mu is held.
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

// fail gives the files up for a while. b.mu is held.
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
	b.files, b.data, b.adds = nil, b.data[:0], b.adds[:0]
	b.forgot++
	for i := range b.facts {
		f := &b.facts[i]
		f.off, f.len, f.has = 0, 0, 0
	}
}

// Flush writes what was added. Call it at the end of a command.
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
	b.data, b.adds = nil, nil // the next time may be far
}

// flush writes what was added, or drops it: if somebody else writes just now,
// or has put other files in the place of these. b.mu is held.
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
		b.putOff()
		return
	}
	if !b.s.current(b.files) {
		b.putOff()
		b.drop()
		return
	}
	defer unlock(b.files.index)
	b.load()
	if b.files == nil || !b.allowed() {
		return
	}
	entries := make([]entry, len(b.adds))
	for i := range b.adds {
		entries[i] = b.adds[i].entry
	}
	if err := b.files.add(b.data, entries); err != nil {
		b.fail(err)
		return
	}
	var outdatedAt map[uint32]int // by row: what stands before is of another text
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

// putOff keeps for the next files what is outdated, where the rest is dropped. b.mu is
// held.
func (b *Box) putOff() {
	for i := range b.adds {
		if a := &b.adds[i]; a.has&outdated != 0 {
			b.noteOutdated(a.row, a.key)
		}
	}
}

// allowed tells whether the files may grow. b.mu is held.
func (b *Box) allowed() bool {
	n, err := size(b.files.data)
	b.files.large = err != nil || n+int64(len(b.data)) > b.s.max/2
	return !b.files.large && roomy(b.files.data)
}

// Close writes what was added and closes the files. If most of what they hold
// is of messages that are gone, they are made small again later.
func (b *Box) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.flush()
	b.closed = true
	if b.files == nil {
		return
	}
	if job := b.compaction(); job != nil {
		b.s.background(job.run)
	}
	b.files.close()
	b.files, b.facts, b.data, b.adds = nil, nil, nil, nil
}
