package order

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Place is the position that the criteria give a message, as octets that are compared
// lexically. No place is a prefix of another one of the same criteria.
type Place struct {
	head uint64 // the first eight octets, padded with zeros: usually sufficient
	rest []byte
}

// Compare returns a negative number if a comes before b, 0 if they are equal, and a positive
// number if a comes after b. Both must be of the same criteria.
func (a *Place) Compare(b *Place) int {
	if a.head != b.head {
		return cmp.Compare(a.head, b.head)
	}
	return bytes.Compare(a.rest, b.rest)
}

// Sorted returns the indexes of places in the order of the places. Equal places stay in the
// order of their indexes. All must be of the same criteria.
func Sorted(places []Place) []uint32 {
	type key struct { // small, because sorting moves it
		head uint64
		n    uint32
	}
	keys := make([]key, len(places))
	for i := range places {
		keys[i] = key{places[i].head, uint32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(bytes.Compare(places[a.n].rest, places[b.n].rest), cmp.Compare(a.n, b.n))
	})
	numbers := make([]uint32, len(keys))
	for i, k := range keys {
		numbers[i] = k.n
	}
	return numbers
}

// PlaceMaker makes the places of many messages. For each, call Number or Text for each
// criterion, the first one first, then Place. The zero value is ready to use, by one
// goroutine at a time.
type PlaceMaker struct {
	room   []byte
	rests  []byte // memory for many places, one after the other
	octets int64
}

// restsBytes is the size of the allocations for rests.
const restsBytes = 64 << 10

// Number adds a number to the current place; with reverse the greatest comes first.
func (p *PlaceMaker) Number(n int64, reverse bool) {
	from := len(p.room)
	p.room = binary.BigEndian.AppendUint64(p.room, uint64(n)^1<<63)
	p.turn(from, reverse)
}

// Text adds a text to the current place; with reverse the greatest comes first.
func (p *PlaceMaker) Text(text []byte, reverse bool) {
	from := len(p.room)
	p.room = appendText(p.room, text)
	p.turn(from, reverse)
}

func (p *PlaceMaker) turn(from int, reverse bool) {
	if reverse {
		for i, c := range p.room[from:] {
			p.room[from+i] = ^c
		}
	}
}

// Place returns the current place and begins the next.
func (p *PlaceMaker) Place() (at Place) {
	b := p.room
	p.room = b[:0]
	var head [8]byte
	b = b[copy(head[:], b):]
	at.head = binary.BigEndian.Uint64(head[:])
	if len(b) > 0 {
		p.octets += int64(len(b))
		if len(b) > cap(p.rests)-len(p.rests) {
			p.rests = make([]byte, 0, max(restsBytes, len(b)))
		}
		from := len(p.rests)
		p.rests = append(p.rests, b...)
		at.rest = p.rests[from:len(p.rests):len(p.rests)]
	}
	return at
}

// Octets returns how much memory the texts of the places take that were made so far.
func (p *PlaceMaker) Octets() int64 { return p.octets }

// appendText appends a text, terminated by two NULs. A NUL in the text is followed
// by a greater octet.
func appendText(b, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, 0)
		if i < 0 {
			return append(append(b, text...), 0, 0)
		}
		b = append(append(b, text[:i]...), 0, 0xff)
		text = text[i+1:]
	}
}
