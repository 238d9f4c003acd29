package table

import (
	"bytes"
	"encoding/binary"

	"maildird/maildir/filename"
	"maildird/maildir/octets"
)

// A page in the file, all numbers little-endian: for each row its UID (32 bits), flags
// (32), mod-sequence (64), save date (32), Row.Inode (32), length of its base (8), and
// state, place, form and whether it is unsettled (8); then the bases, one after another;
// then the odd names and the extension fields, each as the number of the row (8), the
// length (16) and the text, each list preceded by the number of its texts (16).
const rowSize = 26

// encode appends the page in the form of the file.
func (p *page) encode(b []byte) []byte {
	le := binary.LittleEndian
	for i := range p.rows {
		r := &p.rows[i]
		b = le.AppendUint32(b, r.UID)
		b = le.AppendUint32(b, uint32(r.Flags))
		b = le.AppendUint64(b, r.ModSeq)
		b = le.AppendUint32(b, r.Saved)
		b = le.AppendUint32(b, r.Inode)
		bits := uint8(r.State) | uint8(r.Where)<<2 | uint8(r.form)<<3
		if r.Unsettled {
			bits |= 1 << 5
		}
		b = append(b, r.len, bits)
	}
	b = append(b, p.names...)
	for _, texts := range []map[uint8]string{p.odd, p.exts} {
		b = le.AppendUint16(b, uint16(len(texts)))
		for i := range p.rows {
			if s, ok := texts[uint8(i)]; ok {
				b = append(b, uint8(i))
				b = le.AppendUint16(b, uint16(len(s)))
				b = append(b, s...)
			}
		}
	}
	return b
}

// decode fills the page, which has this many rows, and compares the result with the page's
// summary.
func (p *page) decode(b []byte, rows int) error {
	in := octets.Decoder{Rest: b}
	var found Counts // p.Counts may be read concurrently
	p.rows = make([]Row, rows)
	names, before := 0, uint32(0)
	for i := range p.rows {
		r := &p.rows[i]
		*r = Row{UID: in.U32(), Flags: filename.Flags(in.U32()), ModSeq: in.U64(), Saved: in.U32(), Inode: in.U32(), name: uint16(names), len: in.U8()}
		bits := in.U8()
		r.State, r.Where, r.form = State(bits&3), Place(bits>>2&1), form(bits>>3&3)
		r.Unsettled = bits&(1<<5) != 0
		r.Recent = r.Where == InNew // as if the folder were opened without a snapshot
		if r.UID <= before || r.State > Expunged || r.form > formOdd || r.len == 0 {
			in.Bad = true
		}
		before = r.UID
		names += int(r.len)
		if r.State == Present {
			p.alive[i/64] |= 1 << (i % 64)
		}
		found.tally(r, 1)
	}
	p.names = bytes.Clone(in.Take(names))
	p.odd, p.exts = takeTexts(&in, rows), takeTexts(&in, rows)
	for i := range p.rows {
		_, odd := p.odd[uint8(i)]
		in.Bad = in.Bad || odd != (p.rows[i].form == formOdd)
	}
	if in.Bad || len(in.Rest) > 0 || found != p.Counts || p.rows[0].UID != p.first {
		return ErrDamaged
	}
	return nil
}

// takeTexts decodes a list of texts of rows, at most one for each.
func takeTexts(d *octets.Decoder, rows int) map[uint8]string {
	n := int(d.U16())
	if n > rows {
		d.Bad = true
	}
	if n == 0 || d.Bad {
		return nil
	}
	texts := make(map[uint8]string, n)
	for range n {
		i := d.U8()
		s := string(d.Take(int(d.U16())))
		if _, again := texts[i]; again || int(i) >= rows {
			d.Bad = true
		}
		texts[i] = s
	}
	return texts
}
