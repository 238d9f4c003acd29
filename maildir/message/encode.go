package message

import (
	"encoding/binary"
	"errors"
)

// AppendPart appends a part and all parts in it, encoded for DecodePart of the same version
// of this program.
func AppendPart(b []byte, p *Part) []byte {
	for _, n := range [...]int64{p.Start.Phys, p.Start.Virt, p.Body.Phys, p.Body.Virt, p.End.Phys, p.End.Virt, p.Lines} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	flag := byte(0)
	if p.NoType {
		flag = 1
	}
	b = append(b, flag)
	for _, s := range p.texts() {
		b = appendText(b, *s)
	}
	b = appendParams(b, p.Params)
	b = appendParams(b, p.DispositionParams)
	b = binary.AppendUvarint(b, uint64(len(p.Language)))
	for _, s := range p.Language {
		b = appendText(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Children)))
	for _, child := range p.Children {
		b = AppendPart(b, child)
	}
	return b
}

// texts returns the fields that consist of one text.
func (p *Part) texts() [8]*string {
	return [...]*string{&p.Type, &p.Subtype, &p.ID, &p.Description, &p.Encoding, &p.MD5, &p.Location, &p.Disposition}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendParams(b []byte, params []Param) []byte {
	b = binary.AppendUvarint(b, uint64(len(params)))
	for _, p := range params {
		b = appendText(appendText(b, p.Name), p.Value)
	}
	return b
}

var errEncodedPart = errors.New("encoded part is damaged")

// DecodePart decodes what AppendPart encoded. For any other input it returns an error or
// some part, at a cost no greater than the input's length.
func DecodePart(b []byte) (*Part, error) {
	d := &partDecoder{rest: string(b)}
	p := d.part(0)
	if d.bad || len(d.rest) > 0 {
		return nil, errEncodedPart
	}
	return p, nil
}

// partDecoder decodes numbers and texts; the texts share one string.
type partDecoder struct {
	rest string
	bad  bool
}

const maxDecodeDepth = 1000

func (d *partDecoder) part(depth int) *Part {
	p := &Part{}
	if depth > maxDecodeDepth {
		d.bad = true
		return p
	}
	for _, n := range [...]*int64{&p.Start.Phys, &p.Start.Virt, &p.Body.Phys, &p.Body.Virt, &p.End.Phys, &p.End.Virt, &p.Lines} {
		*n = int64(d.number())
	}
	p.NoType = d.number() != 0
	for _, s := range p.texts() {
		*s = d.text()
	}
	p.Params, p.DispositionParams = d.params(), d.params()
	for range d.count() {
		p.Language = append(p.Language, d.text())
	}
	for range d.count() {
		if d.bad {
			break
		}
		p.Children = append(p.Children, d.part(depth+1))
	}
	return p
}

func (d *partDecoder) params() (params []Param) {
	n := d.count()
	if n > 0 {
		params = make([]Param, n)
	}
	for i := range params {
		params[i] = Param{d.text(), d.text()}
	}
	return params
}

func (d *partDecoder) number() (n uint64) {
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		c := d.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.bad, d.rest = true, ""
	return 0
}

// count decodes the number of items that follow, each of which takes at least one octet.
func (d *partDecoder) count() int {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return 0
	}
	return int(n)
}

func (d *partDecoder) text() string {
	n := d.count()
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}
