package mailbox

import (
	"strings"
	"sync/atomic"

	"maildird/maildir/filename"
)

// pageRows is how many rows a page has, all but the last one. Offsets of names
// in a page fit in 16 bits, as a name has at most 255 octets.
const pageRows = 256

// page is a run of rows. What it says of all of them is there before its rows
// were read.
type page struct {
	first uint32 // UID of its first row
	counts

	here  atomic.Bool // what follows was read, or was never in a file
	rows  []row
	names []byte // bases, one after the other
	alive [pageRows / 64]uint64
	odd   map[uint8]string // full names that base and flags do not give
	exts  map[uint8]string // fields of the records that have a GUID, few
}

// counts is how many rows of a page are present, and what these are.
type counts struct{ present, unseen, deleted, recent uint16 }

func (p *page) add(uid uint32, base string) {
	p.rows = append(p.rows, row{uid: uid, name: uint16(len(p.names)), len: uint8(len(base))})
	p.names = append(p.names, base...)
}

// addFile appends the row of a file that is there, \Recent for whom it is told
// to first.
func (p *page) addFile(uid uint32, e entry) {
	p.add(uid, filename.Base(e.name))
	i := len(p.rows) - 1
	r := &p.rows[i]
	r.state, r.recent = present, true
	p.alive[i/64] |= 1 << (i % 64)
	p.setName(uint8(i), e.where, e.name)
	p.tally(r, 1)
}

// setName notes in a row where its file is and what the name says.
func (p *page) setName(i uint8, where place, name string) {
	r := &p.rows[i]
	if r.form == formOdd {
		delete(p.odd, i)
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
func (c *counts) tally(r *row, by int) {
	if r.state != present {
		return
	}
	d := uint16(by)
	c.present += d
	if r.flags&filename.Seen == 0 {
		c.unseen += d
	}
	if r.flags&filename.Deleted != 0 {
		c.deleted += d
	}
	if r.recent {
		c.recent += d
	}
}

// ext returns the fields of a row's record, if a GUID is among them.
func (t *table) ext(n uint32) string { return t.page(n).exts[uint8(n%pageRows)] }

// setExt takes the fields of a row's record, if a GUID is among them.
func (t *table) setExt(n uint32, ext string) {
	p, i := t.page(n), uint8(n%pageRows)
	if guidOf(ext) == "" {
		ext = ""
	}
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
