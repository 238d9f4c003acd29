// Package octets reads what a file of ours has of numbers and texts,
// little-endian, without trusting it.
package octets

import "encoding/binary"

// Decoder takes numbers and texts off the front of Rest. After something that is
// not there, Bad is set, Rest is empty, and whatever is taken is zero: whoever
// reads a whole form asks once, at the end. Not for concurrent use.
type Decoder struct {
	Rest []byte
	Bad  bool
}

// Take takes n octets, which stay those of the slice that is read; nil if there
// are not so many.
func (d *Decoder) Take(n int) []byte {
	if d.Bad || n < 0 || n > len(d.Rest) {
		d.Bad, d.Rest = true, nil
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// U8 takes a number of 8 bits.
func (d *Decoder) U8() uint8 {
	if b := d.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes a number of 16 bits.
func (d *Decoder) U16() uint16 {
	if b := d.Take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// U32 takes a number of 32 bits.
func (d *Decoder) U32() uint32 {
	if b := d.Take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// U64 takes a number of 64 bits.
func (d *Decoder) U64() uint64 {
	if b := d.Take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Text takes a text that AppendText wrote.
func (d *Decoder) Text() []byte { return d.Take(int(d.U32())) }

// Count takes the number (32 bits) of things that follow, each of size octets at
// least. It is never more than Rest has room for.
func (d *Decoder) Count(size int) int {
	n := int(d.U32())
	if n > len(d.Rest)/size {
		d.Bad, d.Rest, n = true, nil, 0
	}
	return n
}

// Numbers takes a list that AppendNumbers wrote, nil if it is empty.
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

// AppendText appends a text, after its length in 32 bits.
func AppendText(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// AppendNumbers appends numbers of 32 bits, after how many they are.
func AppendNumbers(b []byte, l []uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l)))
	for _, n := range l {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}
