package table

import (
	"iter"
	"strings"
	"sync/atomic"

	"maildird/maildir/filename"
)

// PageRows is the number of rows in every page except the last one. Offsets of names in a
// page fit in 16 bits, because a name has at most 255 octets.
const PageRows = 256

// page is a run of rows. The summary of its rows is available before they are read.
type page struct {
	first uint32 // UID of its first row
	Counts

	here  atomic.Bool // the following fields were read, or never came from a file
	rows  []Row
	names []byte // bases, one after another
	alive [PageRows / 64]uint64
	odd   map[uint8]string // full names that do not follow from base and flags
	exts  map[uint8]string // set by SetExt
}

// Counts is how many rows of a page are present, and how many of these are unseen, deleted
// and recent.
type Counts struct{ Present, Unseen, Deleted, Recent uint16 }

func (p *page) add(uid uint32, base string) {
	p.rows = append(p.rows, Row{UID: uid, name: uint16(len(p.names)), len: uint8(len(base))})
	p.names = append(p.names, base...)
}

// addFile appends a row with a file, which is \Recent for the session that is told of it
// first.
func (p *page) addFile(uid uint32, where Place, name string, inode uint32) {
	p.add(uid, filename.Base(name))
	i := len(p.rows) - 1
	r := &p.rows[i]
	r.State, r.Recent, r.Inode = Present, true, inode
	p.alive[i/64] |= 1 << (i % 64)
	p.setName(uint8(i), where, name)
	p.tally(r, 1)
}

// setName records where a row's file is, and the flags in its name.
func (p *page) setName(i uint8, where Place, name string) {
	r := &p.rows[i]
	if r.form == formOdd {
		delete(p.odd, i)
	}
	r.Where = where
	r.Flags = filename.FlagsOf(name)
	switch {
	case len(name) == int(r.len):
		r.form = formBase
	case filename.Regular(name):
		r.form = formFlags
	default:
		r.form = formOdd
		if p.odd == nil {
			p.odd = map[uint8]string{}
		}
		p.odd[i] = strings.Clone(name) // it may be part of a long listing
	}
}

func (p *page) base(i uint8) []byte {
	r := &p.rows[i]
	return p.names[r.name : int(r.name)+int(r.len)]
}

// tally adds a row to the counts (by = 1) or subtracts it (by = -1).
func (c *Counts) tally(r *Row, by int) {
	if r.State != Present {
		return
	}
	d := uint16(by)
	c.Present += d
	if r.Flags&filename.Seen == 0 {
		c.Unseen += d
	}
	if r.Flags&filename.Deleted != 0 {
		c.Deleted += d
	}
	if r.Recent {
		c.Recent += d
	}
}

// PageCounts returns the counts of the page that contains row n, without reading it.
func (t *Table) PageCounts(n uint32) Counts { return t.pages[n/PageRows].Counts }

// Page returns the rows of the page that contains row n, with the same validity as for Row,
// and which of them are present, one bit each.
func (t *Table) Page(n uint32) (rows []Row, present [PageRows / 64]uint64) {
	p := t.page(n)
	return p.rows, p.alive
}

// Expunged returns the rows of messages that are gone, in the pages that were read.
func (t *Table) Expunged() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i, p := range t.pages {
			if !p.here.Load() {
				continue
			}
			for k := range p.rows {
				if p.rows[k].State == Expunged && !yield(uint32(i)*PageRows+uint32(k)) {
					return
				}
			}
		}
	}
}
