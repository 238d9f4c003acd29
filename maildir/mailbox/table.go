package mailbox

import (
	"hash/maphash"
	"math/bits"

	"maildird/maildir/filename"
)

// table is the messages of a folder in UID order: one row for each record of
// the uidlist, also for those whose file is not there. Rows are only added at
// the end, as UIDs only grow, so a row's number is good for as long as the
// table lives. All of it is flat memory without pointers, about 40 bytes and
// the file name for a message.
type table struct {
	rows  []row
	names []byte            // bases, one after the other
	odd   map[uint32]string // full names that base and flags do not give
	exts  map[uint32]string // fields of the records that have a GUID, few

	// index finds a row by its base: open addressing, row+1, 0 is free.
	index []uint32
	used  int
	seed  maphash.Seed

	// alive is a Fenwick tree over the rows that are present: it turns row
	// numbers into sequence numbers and back in O(log n), whatever was expunged.
	alive []uint32
	count uint32 // rows present
}

type row struct {
	uid   uint32
	flags filename.Flags
	name  uint32 // offset of the base in names
	saved uint32 // when it came into the folder, see savedate.go; 0 if that is not known
	len   uint8
	state rowState
	where place
	form  form
	// recent says that no session has claimed the message as \Recent yet.
	recent bool
	// unsettled says that the row is in modseqs.unsettled.
	unsettled bool
	// modseq is when the message last changed, as far as that is in the history;
	// 0 for one that is not there. Of an absent row with a modseq, flags are
	// those that the history has.
	modseq uint64
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
	formOdd               // as in table.odd
)

func newTable() *table {
	return &table{seed: maphash.MakeSeed(), odd: map[uint32]string{}, exts: map[uint32]string{}}
}

// add appends a row that is absent so far. An older row with the same base
// loses its name to it: the later record is right, as in Dovecot.
func (t *table) add(uid uint32, base string) uint32 {
	n := uint32(len(t.rows))
	t.rows = append(t.rows, row{uid: uid, name: uint32(len(t.names)), len: uint8(len(base))})
	t.names = append(t.names, base...)
	i := uint32(len(t.rows)) // Fenwick nodes count from 1
	var below uint32
	for j := i - 1; j > i-lowbit(i); j -= lowbit(j) {
		below += t.alive[j-1]
	}
	t.alive = append(t.alive, below)
	t.link(n)
	return n
}

func (t *table) base(n uint32) []byte {
	r := &t.rows[n]
	return t.names[r.name : r.name+uint32(r.len)]
}

// fileName returns the name under which the row's file is in its directory.
func (t *table) fileName(n uint32) string {
	r := &t.rows[n]
	switch r.form {
	case formBase:
		return string(t.base(n))
	case formFlags:
		return filename.WithFlags(string(t.base(n)), r.flags)
	}
	return t.odd[n]
}

// hasName tells whether the row's file is at this place under this name.
func (t *table) hasName(n uint32, where place, name string) bool {
	return t.rows[n].where == where && t.fileName(n) == name
}

// setName notes where the row's file is and reads the flags from its name.
func (t *table) setName(n uint32, where place, name string) {
	r := &t.rows[n]
	if r.form == formOdd {
		delete(t.odd, n)
	}
	r.where = where
	r.flags = filename.FlagsOf(name)
	switch {
	case len(name) == int(r.len):
		r.form = formBase
	case filename.Regular(name):
		r.form = formFlags
	default:
		r.form = formOdd
		t.odd[n] = name
	}
}

// setState changes whether the row is there, and with it the numbering.
func (t *table) setState(n uint32, s rowState) {
	r := &t.rows[n]
	was, is := r.state == present, s == present
	r.state = s
	switch {
	case is && !was:
		t.count++
		for i := n + 1; i <= uint32(len(t.alive)); i += lowbit(i) {
			t.alive[i-1]++
		}
	case was && !is:
		t.count--
		for i := n + 1; i <= uint32(len(t.alive)); i += lowbit(i) {
			t.alive[i-1]--
		}
	}
}

// before counts the present rows with a number below n.
func (t *table) before(n uint32) uint32 {
	var sum uint32
	for i := n; i > 0; i -= lowbit(i) {
		sum += t.alive[i-1]
	}
	return sum
}

// nth returns the row that has k present rows before it, ok false past the end.
func (t *table) nth(k uint32) (n uint32, ok bool) {
	if k >= t.count {
		return 0, false
	}
	size := uint32(len(t.alive))
	for step := uint32(1) << (31 - bits.LeadingZeros32(size)); step > 0; step >>= 1 {
		if next := n + step; next <= size && t.alive[next-1] <= k {
			n = next
			k -= t.alive[next-1]
		}
	}
	return n, true
}

// firstFrom returns the first row with at least this UID, len(rows) if none.
func (t *table) firstFrom(uid uint32) uint32 {
	lo, hi := 0, len(t.rows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.rows[mid].uid < uid {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return uint32(lo)
}

// byUID returns the row of a UID, whatever its state.
func (t *table) byUID(uid uint32) (uint32, bool) {
	n := t.firstFrom(uid)
	return n, int(n) < len(t.rows) && t.rows[n].uid == uid
}

// lookup finds the row of a base.
func (t *table) lookup(base string) (uint32, bool) {
	if len(t.index) == 0 {
		return 0, false
	}
	mask := uint64(len(t.index) - 1)
	for h := maphash.String(t.seed, base) & mask; ; h = (h + 1) & mask {
		e := t.index[h]
		if e == 0 {
			return 0, false
		}
		if string(t.base(e-1)) == base {
			return e - 1, true
		}
	}
}

// link enters row n in the index, in the place of a row with the same base.
func (t *table) link(n uint32) {
	if t.used*2 >= len(t.index) {
		t.grow()
	}
	base := t.base(n)
	mask := uint64(len(t.index) - 1)
	for h := maphash.Bytes(t.seed, base) & mask; ; h = (h + 1) & mask {
		e := t.index[h]
		if e == 0 {
			t.used++
		} else if string(t.base(e-1)) != string(base) {
			continue
		}
		t.index[h] = n + 1
		return
	}
}

func (t *table) grow() {
	old := t.index
	t.index = make([]uint32, max(64, 2*len(old)))
	t.used = 0
	for _, e := range old {
		if e != 0 {
			t.link(e - 1)
		}
	}
}

func lowbit(i uint32) uint32 { return i & -i }
