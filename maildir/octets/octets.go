// Package octets decodes numbers and texts from maildird's own files, little-endian,
// without trusting them.
package octets

import "encoding/binary"

// Decoder decodes numbers and texts from the front of Rest. If something is missing, Bad is
// set, Rest is empty, and all further values are zero, so that the caller needs to check
// only once, at the end. It is not safe for concurrent use.
type Decoder struct {
	Rest []byte
	Bad  bool
}

// Take returns the next n octets, which share memory with the input; nil if there are
// fewer.
func (d *Decoder) Take(n int) []byte {
	if d.Bad || n < 0 || n > len(d.Rest) {
		d.Bad, d.Rest = true, nil
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// U8 decodes a number of 8 bits.
func (d *Decoder) U8() uint8 {
	if b := d.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 decodes a number of 16 bits.
func (d *Decoder) U16() uint16 {
	if b := d.Take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U32 decodes a number of 32 bits.
func (d *Decoder) U32() uint32 {
	if b := d.Take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 decodes a number of 64 bits.
func (d *Decoder) U64() uint64 {
	if b := d.Take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Text decodes a text that AppendText wrote.
func (d *Decoder) Text() []byte { return d.Take(int(d.U32())) }

// Count decodes the number (32 bits) of items that follow, each of at least size octets. It
// is never more than fit in Rest.
func (d *Decoder) Count(size int) int {
	n := int(d.U32())
	if n > len(d.Rest)/size {
		d.Bad, d.Rest, n = true, nil, 0
	}
	return n
}

// Numbers decodes a list that AppendNumbers wrote, nil if it is empty.
func (d *Decoder) Numbers() []uint32 {
	n := d.Count(4)
	if n == 0 {
		return nil
	}
	l := make([]uint32, n)
	for i := range l {
		l[i] = d.U32()
	}
	return l
}

// AppendText appends a text preceded by its length in 32 bits.
func AppendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// AppendNumbers appends numbers of 32 bits preceded by their count.
func AppendNumbers(b []byte, l []uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l)))
	for _, n := range l {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}
