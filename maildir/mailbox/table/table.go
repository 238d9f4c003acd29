package table

import (
	"slices"
	"strings"
	"sync/atomic"

	"maildird/maildir/filename"
)

// Table is the rows of a folder. Rows are only added at the end, since UIDs only grow, so a
// row's number, counted from 0, is valid as long as the table exists.
//
// Any number of goroutines may read a table concurrently, even if parts of it have yet to
// be read from a file. Changes need exclusive access.
type Table struct {
	pages []*page
	n     uint32 // rows
	count uint32 // rows present
	// alive is a Fenwick tree over the pages' counts of present rows.
	alive []uint32
	index index

	saved   *saved // what pages are read from; nil: all are in memory
	broken  atomic.Bool
	changed uint32 // number of changes since TakeChanges

	// coming is the number of rows for which Reserve made room, and baseLen the average
	// length of their bases.
	coming, baseLen int
}

// Row is one message. Only the table's methods change it.
type Row struct {
	UID   uint32
	Flags filename.Flags // as in the file's name
	// ModSeq is the mod-sequence of the message's last change, as far as it is in the
	// history; 0 if it is not. If an absent row has a ModSeq, Flags are those in the
	// history.
	ModSeq uint64
	Saved  uint32 // when it arrived in the folder, Unix seconds; 0 if unknown
	// Inode is the sum of its file's inode number (dirfd.InodeSum), from a listing of the
	// directory or the last time the file was examined; 0 if unknown.
	Inode uint32
	name  uint16 // offset of the base in the page's names
	len   uint8
	State State
	Where Place
	form  form
	// Recent means that no session has claimed the message as \Recent yet.
	Recent bool
	// Unsettled means that the row may differ from the history.
	Unsettled bool
}

// State is whether a row's message exists.
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

// form is how the file name is derived from base and flags.
type form uint8

const (
	formBase  form = iota // only the base
	formFlags             // base, ":2,", flags in order
	formOdd               // as in page.odd
)

// New returns a table without rows.
func New() *Table { return &Table{index: newIndex()} }

// Len returns the number of rows, in any state.
func (t *Table) Len() uint32 { return t.n }

// Count returns the number of present rows.
func (t *Table) Count() uint32 { return t.count }

// Changes returns the number of changes since TakeChanges was called, which a snapshot of
// that time does not have.
func (t *Table) Changes() uint32 { return t.changed }

// TakeChanges returns Changes, and resets it.
func (t *Table) TakeChanges() uint32 {
	n := t.changed
	t.changed = 0
	return n
}

// Row returns row n, which must be below Len. The result is valid until the next Add.
func (t *Table) Row(n uint32) *Row { return &t.page(n).rows[n%PageRows] }

func (t *Table) page(n uint32) *page {
	p := t.pages[n/PageRows]
	if !p.here.Load() {
		t.load(n / PageRows)
	}
	return p
}

// Add appends a row, which is absent at first. An older row with the same base (old, if
// again is true) loses the base to it: the later record is the valid one, as in Dovecot.
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

// Fill adds rows for all files to an empty table, present and \Recent, with UIDs from first
// on. file returns the place, name and Row.Inode of each file. bases must have exactly
// these files, and belongs to the table afterwards; octets is the total length of the
// bases.
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

// Reserve allocates memory for rows whose bases have that many octets in total, so that
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

// Base returns the base of the row's file name. The result is valid until the next Add.
func (t *Table) Base(n uint32) []byte { return t.page(n).base(uint8(n % PageRows)) }

// FileName returns the name of the row's file in its directory.
func (t *Table) FileName(n uint32) string {
	p, i := t.page(n), uint8(n%PageRows)
	if p.rows[i].form == formOdd {
		return p.odd[i]
	}
	var room [256]byte
	return string(p.appendName(room[:0], i))
}

// HasName reports whether the row's file is at this place under this name.
func (t *Table) HasName(n uint32, where Place, name string) bool {
	r := t.Row(n)
	if r.Where != where {
		return false
	}
	if r.form == formFlags { // what FileName would return, without an allocation
		base := t.Base(n)
		var room [64]byte
		return len(name) > len(base) && name[:len(base)] == string(base) &&
			name[len(base):] == string(filename.AppendInfo(room[:0], r.Flags))
	}
	return t.FileName(n) == name
}

// SetName records where the row's file is, and takes the flags from its name.
func (t *Table) SetName(n uint32, where Place, name string) {
	p, i := t.page(n), uint8(n%PageRows)
	r := &p.rows[i]
	p.tally(r, -1)
	p.setName(i, where, name)
	p.tally(r, 1)
	t.changed++
}

// SetInode records the inode number of the row's file: see Row.
func (t *Table) SetInode(n, inode uint32) {
	if r := t.Row(n); r.Inode != inode {
		r.Inode = inode
		t.changed++
	}
}

// SetState changes the state of the row, and with it the numbering.
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

// SetRecent records whether a session has yet to claim the row's message.
func (t *Table) SetRecent(n uint32, recent bool) {
	p, r := t.page(n), t.Row(n)
	p.tally(r, -1)
	r.Recent = recent
	p.tally(r, 1)
	t.changed++
}

// SetUnsettled records whether a row is among those that may differ from the history.
func (t *Table) SetUnsettled(n uint32, unsettled bool) { t.Row(n).Unsettled = unsettled }

// SetHistory records what the history has of a row; the flags only for an absent row.
func (t *Table) SetHistory(n uint32, flags filename.Flags, modseq uint64) {
	r := t.Row(n)
	if r.State == Absent {
		r.Flags = flags
	}
	r.ModSeq = modseq
	t.changed++
}

// SetSaved records when the row's message arrived in the folder, in Unix seconds.
func (t *Table) SetSaved(n, at uint32) {
	t.Row(n).Saved = at
	t.changed++
}

// Ext returns the fields that SetExt stored for a row.
func (t *Table) Ext(n uint32) string { return t.page(n).exts[uint8(n%PageRows)] }

// SetExt stores fields of a row's record in dovecot-uidlist, "" for none. They need extra
// memory, so only few rows should have some.
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
