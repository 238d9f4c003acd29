package order

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Place is where the criteria put a message, as octets that are compared one by
// one. No two places that were made of the same criteria begin with each other.
type Place struct {
	head uint64 // the first eight, or all and zeros: most of the time that is enough
	rest []byte
}

// Compare is negative if a comes before b, 0 if they are the same, positive if it
// comes after. Both were made of the same criteria.
func (a *Place) Compare(b *Place) int {
	if a.head != b.head {
		return cmp.Compare(a.head, b.head)
	}
	return bytes.Compare(a.rest, b.rest)
}

// Sorted gives the numbers of places in the order of the places; equal ones stay in
// that of their numbers. All were made of the same criteria.
func Sorted(places []Place) []uint32 {
	type key struct { // small, as sorting moves them about
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

// PlaceMaker makes the places of many messages, each of the numbers and texts that
// the criteria give, the first criterion first. Zero is ready for use, by one
// goroutine at a time.
type PlaceMaker struct {
	room  []byte
	rests []byte // of many places, one after the other
}

// restsBytes is what is taken for rests at once.
const restsBytes = 64 << 10

// Number adds a number to the place that is being made; with reverse the greatest
// comes first.
func (p *PlaceMaker) Number(n int64, reverse bool) {
	from := len(p.room)
	p.room = binary.BigEndian.AppendUint64(p.room, uint64(n)^1<<63)
	p.turn(from, reverse)
}

// Text adds a text to the place that is being made.
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

// Place ends the place that was made, and begins the next.
func (p *PlaceMaker) Place() (at Place) {
	b := p.room
	p.room = b[:0]
	var head [8]byte
	b = b[copy(head[:], b):]
	at.head = binary.BigEndian.Uint64(head[:])
	if len(b) > 0 {
		if len(b) > cap(p.rests)-len(p.rests) {
			p.rests = make([]byte, 0, max(restsBytes, len(b)))
		}
		from := len(p.rests)
		p.rests = append(p.rests, b...)
		at.rest = p.rests[from:len(p.rests):len(p.rests)]
	}
	return at
}

// appendText appends a text and its end, two NULs: those that are in the text
// have something greater behind them.
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
