package table

import (
	"slices"
	"strings"
	"sync/atomic"

	"maildird/maildir/filename"
)

// Table is the rows of a folder. Rows are only added at the end, as UIDs only
// grow, so a row's number, counted from 0, is good for as long as the table lives.
//
// Any number of goroutines may read a table at once, also one of which parts are
// in a file still; whoever changes it must be alone.
type Table struct {
	pages []*page
	n     uint32 // rows
	count uint32 // rows present
	// alive is a Fenwick tree over the pages' counts of present rows.
	alive []uint32
	index index

	saved   *saved // what pages are read from; nil: all are there
	broken  atomic.Bool
	changed uint32 // times, since TakeChanges

	// coming is how many rows Reserve made room for, and baseLen about how long
	// their bases are.
	coming, baseLen int
}

// Row is one message. Only the table's methods change it.
type Row struct {
	UID   uint32
	Flags filename.Flags // as the file's name has them
	// ModSeq is when the message last changed, as far as that is in the history;
	// 0 for one that is not there. Of an absent row with a ModSeq, Flags are
	// those that the history has.
	ModSeq uint64
	Saved  uint32 // when it came into the folder, Unix seconds; 0 if that is not known
	// Inode is the sum of its file's inode number (dirfd.InodeSum) as a listing of the
	// directory gave it, or whoever looked at the file last; 0 if that is not known.
	Inode uint32
	name  uint16 // offset of the base in the page's names
	len   uint8
	State State
	Where Place
	form  form
	// Recent says that no session has claimed the message as \Recent yet.
	Recent bool
	// Unsettled says that the row may differ from the history.
	Unsettled bool
}

// State says whether a row's message exists.
type State uint8

// The states of a row.
const (
	Absent   State = iota // recorded, but its file has not been seen by this process
	Present               // has a file
	Expunged              // had a file; its UID never comes back
)

// Place is the directory in which a message's file is.
type Place uint8

// The places of a file.
const (
	InNew Place = iota
	InCur
)

// form says how the file name follows from base and flags.
type form uint8

const (
	formBase  form = iota // the base alone
	formFlags             // base, ":2,", flags in order
	formOdd               // as in page.odd
)

// New makes a table without rows.
func New() *Table { return &Table{index: newIndex()} }

// Len returns how many rows there are, in whatever state.
func (t *Table) Len() uint32 { return t.n }

// Count returns how many rows are present.
func (t *Table) Count() uint32 { return t.count }

// Changes counts what changed since TakeChanges was called: what a snapshot of
// then does not have.
func (t *Table) Changes() uint32 { return t.changed }

// TakeChanges returns Changes, and begins anew to count.
func (t *Table) TakeChanges() uint32 {
	n := t.changed
	t.changed = 0
	return n
}

// Row returns row n, which must be below Len. It is good until the next Add.
func (t *Table) Row(n uint32) *Row { return &t.page(n).rows[n%PageRows] }

func (t *Table) page(n uint32) *page {
	p := t.pages[n/PageRows]
	if !p.here.Load() {
		t.load(n / PageRows)
	}
	return p
}

// Add appends a row that is absent so far. An older row with the same base, old
// if again is true, loses its name to it: the later record is right, as in
// Dovecot.
func (t *Table) Add(uid uint32, base string) (n, old uint32, again bool) {
	n = t.n
	if n%PageRows == 0 {
		t.addPage(uid)
	}
	t.page(n).add(uid, base)
	t.n++
	t.changed++
	t.coming--
	old, again = t.link(n)
	return n, old, again
}

// Fill gives a table that has no rows those of so many files, which file gives with
// Row.Inode, all present and \Recent, with UIDs from first on. bases has all of them and no others, and is
// the table's then; all of them together have so many octets.
func (t *Table) Fill(first uint32, files int, file func(i int) (Place, string, uint32), octets int, bases *Bases) {
	t.index.slots = bases.slots
	t.Reserve(files, octets)
	t.index.used = files
	for at := 0; at < files; at += PageRows {
		t.addPage(first + t.n)
		p := t.pages[len(t.pages)-1]
		rows := min(files-at, PageRows)
		for i := range rows {
			where, name, inode := file(at + i)
			p.addFile(first+t.n+uint32(i), where, name, inode)
		}
		t.alive[len(t.alive)-1] += uint32(rows)
		t.n += uint32(rows)
		t.coming -= rows
	}
	t.count = t.n
	t.changed += t.n
}

// Reserve makes room for rows whose bases have so many octets together, so that
// adding them moves nothing.
func (t *Table) Reserve(rows, octets int) {
	if rows == 0 {
		return
	}
	t.coming, t.baseLen = rows, (octets+rows-1)/rows
	t.pages = slices.Grow(t.pages, rows/PageRows+1)
	t.alive = slices.Grow(t.alive, rows/PageRows+1)
	t.growIndex(t.index.used + rows)
}

func (t *Table) addPage(first uint32) {
	p := &page{first: first}
	if t.coming > 0 {
		rows := min(t.coming, PageRows)
		p.rows, p.names = make([]Row, 0, rows), make([]byte, 0, rows*t.baseLen)
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

// Base returns the base of the row's file name. It is good until the next Add.
func (t *Table) Base(n uint32) []byte { return t.page(n).base(uint8(n % PageRows)) }

// FileName returns the name under which the row's file is in its directory.
func (t *Table) FileName(n uint32) string {
	p, i := t.page(n), uint8(n%PageRows)
	if p.rows[i].form == formOdd {
		return p.odd[i]
	}
	var room [256]byte
	return string(p.appendName(room[:0], i))
}

// HasName tells whether the row's file is at this place under this name.
func (t *Table) HasName(n uint32, where Place, name string) bool {
	r := t.Row(n)
	if r.Where != where {
		return false
	}
	if r.form == formFlags { // what FileName would give, without making it
		base := t.Base(n)
		var room [64]byte
		return len(name) > len(base) && name[:len(base)] == string(base) &&
			name[len(base):] == string(filename.AppendInfo(room[:0], r.Flags))
	}
	return t.FileName(n) == name
}

// SetName notes where the row's file is and reads the flags from its name.
func (t *Table) SetName(n uint32, where Place, name string) {
	p, i := t.page(n), uint8(n%PageRows)
	r := &p.rows[i]
	p.tally(r, -1)
	p.setName(i, where, name)
	p.tally(r, 1)
	t.changed++
}

// SetInode notes which file the row's is: see Row.
func (t *Table) SetInode(n, inode uint32) {
	if r := t.Row(n); r.Inode != inode {
		r.Inode = inode
		t.changed++
	}
}

// SetState changes whether the row is there, and with it the numbering.
func (t *Table) SetState(n uint32, s State) {
	p, i := t.page(n), n%PageRows
	r := &p.rows[i]
	was, is := r.State == Present, s == Present
	p.tally(r, -1)
	r.State = s
	p.tally(r, 1)
	t.changed++
	switch {
	case is && !was:
		t.count++
		p.alive[i/64] |= 1 << (i % 64)
		for j := n/PageRows + 1; j <= uint32(len(t.alive)); j += lowbit(j) {
			t.alive[j-1]++
		}
	case was && !is:
		t.count--
		p.alive[i/64] &^= 1 << (i % 64)
		for j := n/PageRows + 1; j <= uint32(len(t.alive)); j += lowbit(j) {
			t.alive[j-1]--
		}
	}
}

// SetRecent notes whether a session has yet to claim the row's message.
func (t *Table) SetRecent(n uint32, recent bool) {
	p, r := t.page(n), t.Row(n)
	p.tally(r, -1)
	r.Recent = recent
	p.tally(r, 1)
	t.changed++
}

// SetUnsettled notes whether a row is among those that may differ from the history.
func (t *Table) SetUnsettled(n uint32, unsettled bool) { t.Row(n).Unsettled = unsettled }

// SetHistory notes what the history has of a row; flags of an absent one only.
func (t *Table) SetHistory(n uint32, flags filename.Flags, modseq uint64) {
	r := t.Row(n)
	if r.State == Absent {
		r.Flags = flags
	}
	r.ModSeq = modseq
	t.changed++
}

// SetSaved notes when the row's message came into the folder, in Unix seconds.
func (t *Table) SetSaved(n, at uint32) {
	t.Row(n).Saved = at
	t.changed++
}

// Ext returns the fields that SetExt noted of a row.
func (t *Table) Ext(n uint32) string { return t.page(n).exts[uint8(n%PageRows)] }

// SetExt notes fields that a row's record has in dovecot-uidlist, "" for none.
// They take room, so only few rows should have some.
func (t *Table) SetExt(n uint32, ext string) {
	p, i := t.page(n), uint8(n%PageRows)
	switch {
	case p.exts[i] == ext:
		return
	case ext == "":
		delete(p.exts, i)
	case p.exts == nil:
		p.exts = map[uint8]string{i: strings.Clone(ext)}
	default:
		p.exts[i] = strings.Clone(ext)
	}
	t.changed++
}
