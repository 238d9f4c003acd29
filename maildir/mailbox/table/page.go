package table

import (
	"iter"
	"strings"
	"sync/atomic"

	"maildird/maildir/filename"
)

// PageRows is how many rows a page has, all but the last one. Offsets of names
// in a page fit in 16 bits, as a name has at most 255 octets.
const PageRows = 256

// page is a run of rows. What it says of all of them is there before its rows
// were read.
type page struct {
	first uint32 // UID of its first row
	Counts

	here  atomic.Bool // what follows was read, or was never in a file
	rows  []Row
	names []byte // bases, one after the other
	alive [PageRows / 64]uint64
	odd   map[uint8]string // full names that base and flags do not give
	exts  map[uint8]string // what SetExt noted
}

// Counts is how many rows of a page are present, and what these are.
type Counts struct{ Present, Unseen, Deleted, Recent uint16 }

func (p *page) add(uid uint32, base string) {
	p.rows = append(p.rows, Row{UID: uid, name: uint16(len(p.names)), len: uint8(len(base))})
	p.names = append(p.names, base...)
}

// addFile appends the row of a file that is there, \Recent for whom it is told
// to first.
func (p *page) addFile(uid uint32, where Place, name string, inode uint32) {
	p.add(uid, filename.Base(name))
	i := len(p.rows) - 1
	r := &p.rows[i]
	r.State, r.Recent, r.Inode = Present, true, inode
	p.alive[i/64] |= 1 << (i % 64)
	p.setName(uint8(i), where, name)
	p.tally(r, 1)
}

// setName notes in a row where its file is and what the name says.
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
		p.odd[i] = strings.Clone(name) // it may be a part of a long listing
	}
}

func (p *page) base(i uint8) []byte {
	r := &p.rows[i]
	return p.names[r.name : int(r.name)+int(r.len)]
}

// tally counts a row, or takes it off.
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

// PageCounts returns the counts of the page that row n is in, without reading it.
func (t *Table) PageCounts(n uint32) Counts { return t.pages[n/PageRows].Counts }

// Page returns the rows of the page that row n is in, as Row does, and which of
// them are present, a bit each.
func (t *Table) Page(n uint32) (rows []Row, present [PageRows / 64]uint64) {
	p := t.page(n)
	return p.rows, p.alive
}

// Expunged gives the rows whose messages are gone, of the pages that were read.
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
