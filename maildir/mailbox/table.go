package mailbox

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"maildird/maildir/filename"
)

// table is the messages of a folder in UID order: one row for each record of
// the uidlist, also for those whose file is not there. Rows are only added at
// the end, as UIDs only grow, so a row's number is good for as long as the
// table lives.
//
// Rows are in pages, about 35 bytes and the file name for a message. Of a table
// that comes from a snapshot a page is read when one of its rows is asked for,
// which may happen in several goroutines that only read the table. If it cannot
// be read, its rows are those of messages that are gone, and broken is set:
// nothing may be written that follows from such a table, and the mailbox ends.
type table struct {
	pages []*page
	n     uint32 // rows
	count uint32 // rows present
	// alive is a Fenwick tree over the pages' counts of present rows.
	alive []uint32
	index index

	saved   *saved // what pages are read from; nil: all are there
	broken  atomic.Bool
	changed uint32 // times, since the last snapshot

	// coming is how many rows reserve made room for, and baseLen about how long
	// their bases are.
	coming, baseLen int
}

type row struct {
	uid   uint32
	flags filename.Flags
	// modseq is when the message last changed, as far as that is in the history;
	// 0 for one that is not there. Of an absent row with a modseq, flags are
	// those that the history has.
	modseq uint64
	saved  uint32 // when it came into the folder, see savedate.go; 0 if that is not known
	name   uint16 // offset of the base in the page's names
	len    uint8
	state  rowState
	where  place
	form   form
	// recent says that no session has claimed the message as \Recent yet.
	recent bool
	// unsettled says that the row is in modseqs.unsettled.
	unsettled bool
}

// rowState says whether a row's message exists.
type rowState uint8

const (
	absent   rowState = iota // recorded, but its file has not been seen by this process
	present                  // has a file
	expunged                 // had a file; its UID never comes back
)

// place is the directory in which a message's file is.
type place uint8

const (
	inNew place = iota
	inCur
)

// form says how the file name follows from base and flags.
type form uint8

const (
	formBase  form = iota // the base alone
	formFlags             // base, ":2,", flags in order
	formOdd               // as in page.odd
)

func newTable() *table { return &table{index: newIndex()} }

// row returns row n. It is good until the next add.
func (t *table) row(n uint32) *row { return &t.page(n).rows[n%pageRows] }

func (t *table) page(n uint32) *page {
	p := t.pages[n/pageRows]
	if !p.here.Load() {
		t.load(n / pageRows)
	}
	return p
}

// add appends a row that is absent so far. An older row with the same base, old
// if again is true, loses its name to it: the later record is right, as in
// Dovecot.
func (t *table) add(uid uint32, base string) (n, old uint32, again bool) {
	n = t.n
	if n%pageRows == 0 {
		t.addPage(uid)
	}
	t.page(n).add(uid, base)
	t.n++
	t.changed++
	t.coming--
	old, again = t.link(n)
	return n, old, again
}

// fill gives a table that has no rows those of files, all present and \Recent,
// with UIDs from first on. Their bases have so many octets together. slots is
// their index, which the table keeps: the number of a file+1 for each base.
func (t *table) fill(first uint32, files []entry, octets int, slots []uint32) {
	t.index.slots = slots
	t.reserve(len(files), octets)
	t.index.used = len(files)
	for part := range slices.Chunk(files, pageRows) {
		t.addPage(first + t.n)
		p := t.pages[len(t.pages)-1]
		for i, e := range part {
			p.addFile(first+t.n+uint32(i), e)
		}
		t.alive[len(t.alive)-1] += uint32(len(part))
		t.n += uint32(len(part))
		t.coming -= len(part)
	}
	t.count = t.n
	t.changed += t.n
}

// reserve makes room for rows whose bases have so many octets together, so that
// adding them moves nothing.
func (t *table) reserve(rows, octets int) {
	if rows == 0 {
		return
	}
	t.coming, t.baseLen = rows, (octets+rows-1)/rows
	t.pages = slices.Grow(t.pages, rows/pageRows+1)
	t.alive = slices.Grow(t.alive, rows/pageRows+1)
	t.growIndex(t.index.used + rows)
}

func (t *table) addPage(first uint32) {
	p := &page{first: first}
	if t.coming > 0 {
		rows := min(t.coming, pageRows)
		p.rows, p.names = make([]row, 0, rows), make([]byte, 0, rows*t.baseLen)
	}
	p.here.Store(true)
	t.pages = append(t.pages, p)
	i := uint32(len(t.pages)) // Fenwick nodes count from 1
	var below uint32
	for j := i - 1; j > i-lowbit(i); j -= lowbit(j) {
		below += t.alive[j-1]
	}
	t.alive = append(t.alive, below)
}

func (t *table) base(n uint32) []byte { return t.page(n).base(uint8(n % pageRows)) }

// fileName returns the name under which the row's file is in its directory.
func (t *table) fileName(n uint32) string {
	p, i := t.page(n), uint8(n%pageRows)
	switch r := &p.rows[i]; r.form {
	case formBase:
		return string(p.base(i))
	case formFlags:
		var room [256]byte
		return string(filename.AppendInfo(append(room[:0], p.base(i)...), r.flags))
	}
	return p.odd[i]
}

// hasName tells whether the row's file is at this place under this name.
func (t *table) hasName(n uint32, where place, name string) bool {
	r := t.row(n)
	if r.where != where {
		return false
	}
	if r.form == formFlags { // what WithFlags would give, without making it
		return filename.FlagsOf(name) == r.flags && filename.Base(name) == string(t.base(n)) && filename.Regular(name)
	}
	return t.fileName(n) == name
}

// setName notes where the row's file is and reads the flags from its name.
func (t *table) setName(n uint32, where place, name string) {
	p, i := t.page(n), uint8(n%pageRows)
	r := &p.rows[i]
	p.tally(r, -1)
	p.setName(i, where, name)
	p.tally(r, 1)
	t.changed++
}

// setState changes whether the row is there, and with it the numbering.
func (t *table) setState(n uint32, s rowState) {
	p, i := t.page(n), n%pageRows
	r := &p.rows[i]
	was, is := r.state == present, s == present
	p.tally(r, -1)
	r.state = s
	p.tally(r, 1)
	t.changed++
	switch {
	case is && !was:
		t.count++
		p.alive[i/64] |= 1 << (i % 64)
		for j := n/pageRows + 1; j <= uint32(len(t.alive)); j += lowbit(j) {
			t.alive[j-1]++
		}
	case was && !is:
		t.count--
		p.alive[i/64] &^= 1 << (i % 64)
		for j := n/pageRows + 1; j <= uint32(len(t.alive)); j += lowbit(j) {
			t.alive[j-1]--
		}
	}
}

// setRecent notes whether a session has yet to claim the row's message.
func (t *table) setRecent(n uint32, recent bool) {
	p, r := t.page(n), t.row(n)
	p.tally(r, -1)
	r.recent = recent
	p.tally(r, 1)
	t.changed++
}

// setHistory notes what the history has of a row; flags of an absent one only.
func (t *table) setHistory(n uint32, flags filename.Flags, modseq uint64) {
	r := t.row(n)
	if r.state == absent {
		r.flags = flags
	}
	r.modseq = modseq
	t.changed++
}

// setSaved notes when the row's message came into the folder.
func (t *table) setSaved(n, at uint32) {
	t.row(n).saved = at
	t.changed++
}

// before counts the present rows with a number below n.
func (t *table) before(n uint32) uint32 {
	if n >= t.n {
		return t.count
	}
	var sum uint32
	for i := n / pageRows; i > 0; i -= lowbit(i) {
		sum += t.alive[i-1]
	}
	if i := n % pageRows; i > 0 {
		alive := &t.page(n).alive
		for w := range i / 64 {
			sum += uint32(bits.OnesCount64(alive[w]))
		}
		sum += uint32(bits.OnesCount64(alive[i/64] & (1<<(i%64) - 1)))
	}
	return sum
}

// nth returns the row that has k present rows before it, ok false past the end.
func (t *table) nth(k uint32) (n uint32, ok bool) {
	if k >= t.count {
		return 0, false
	}
	at, size := uint32(0), uint32(len(t.alive))
	for step := uint32(1) << (31 - bits.LeadingZeros32(size)); step > 0; step >>= 1 {
		if next := at + step; next <= size && t.alive[next-1] <= k {
			at = next
			k -= t.alive[next-1]
		}
	}
	n = at * pageRows
	for _, word := range t.page(n).alive {
		if c := uint32(bits.OnesCount64(word)); c <= k {
			k -= c
			n += 64
			continue
		}
		for ; k > 0; k-- {
			word &= word - 1
		}
		return n + uint32(bits.TrailingZeros64(word)), true
	}
	return at * pageRows, true // the page could not be read: it is one of these, and gone
}

// firstUnseen returns the first row that is present and has no \Seen, ok false
// if there is none.
func (t *table) firstUnseen() (n uint32, ok bool) {
	for i, p := range t.pages {
		if p.unseen == 0 {
			continue
		}
		for n := uint32(i) * pageRows; n < min(t.n, uint32(i+1)*pageRows); n++ {
			if r := t.row(n); r.state == present && r.flags&filename.Seen == 0 {
				return n, true
			}
		}
	}
	return 0, false
}

// firstFrom returns the first row with at least this UID, t.n if there is none.
func (t *table) firstFrom(uid uint32) uint32 {
	at := search(uint32(len(t.pages)), func(i uint32) bool { return t.pages[i].first > uid })
	if at == 0 {
		return 0
	}
	from := (at - 1) * pageRows
	rows := t.page(from).rows
	return from + search(uint32(len(rows)), func(i uint32) bool { return rows[i].uid >= uid })
}

// search returns the first of n numbers for which f is true, n if for none.
func search(n uint32, f func(uint32) bool) uint32 {
	lo := uint32(0)
	for lo < n {
		if mid := (lo + n) / 2; f(mid) {
			n = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// byUID returns the row of a UID, whatever its state.
func (t *table) byUID(uid uint32) (uint32, bool) {
	n := t.firstFrom(uid)
	return n, n < t.n && t.row(n).uid == uid
}

// lastUID returns the UID of the last row, 0 if there is none.
func (t *table) lastUID() uint32 {
	if t.n == 0 {
		return 0
	}
	return t.row(t.n - 1).uid
}

func lowbit(i uint32) uint32 { return i & -i }
