package table

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/dchest/siphash"
)

// index finds a row by its base: open addressing, row+1, 0 is free. The index of a snapshot
// is in slots that are read when they are needed; rows that were added since are in
// separate slots, which are searched first.
//
// File names are chosen by whoever puts files into a folder, so the hash has a random key,
// which is saved with the snapshot.
type index struct {
	key   hashKey
	slots []uint32
	used  int
	old   []atomic.Pointer[slotBlock] // of the snapshot; nil: not read yet
}

// hashKey is a key of SipHash, so that nobody can choose names that collide.
type hashKey [2]uint64

// leastSlots is the number of slots of the smallest index that has any; a power of two,
// like all its sizes.
const leastSlots = 64

func newIndex() index {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return index{key: hashKey{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}}
}

func (k hashKey) sum(base []byte) uint64 { return siphash.Hash(k[0], k[1], base) }

// bytesOf returns the octets of a string, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns the octets as a string, which is valid as long as they do not change.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Bases finds which of a number of files has a base. Its slots have the form of an index,
// for Fill.
type Bases struct {
	key   hashKey
	slots []uint32
	base  func(i uint32) string
}

// NewBases returns Bases for that number of files. base returns their bases.
func (t *Table) NewBases(files int, base func(i uint32) string) *Bases {
	size := leastSlots
	for size < 2*files {
		size *= 2
	}
	return &Bases{t.index.key, make([]uint32, size), base}
}

// Slot returns a pointer to the slot of a base, which holds the number of the file with
// that base, counted from 1; 0 means that no such file was entered yet.
func (b *Bases) Slot(base string) *uint32 {
	mask := uint64(len(b.slots) - 1)
	h := b.key.sum(bytesOf(base)) & mask
	for b.slots[h] != 0 && b.base(b.slots[h]-1) != base {
		h = (h + 1) & mask
	}
	return &b.slots[h]
}

// Lookup returns the row of a base, whatever its state.
func (t *Table) Lookup(base string) (uint32, bool) {
	sum := t.index.key.sum(bytesOf(base))
	return t.find(probe{sum: sum, at: sum}, base)
}

// LookupEach is Lookup for many bases: it sets rows to the row of each plus one, or 0.
// Looking up one base means waiting for memory several times. With many, the processor can
// wait for several at a time, because the next lookup does not depend on the result of the
// previous one.
func (t *Table) LookupEach(bases []string, rows []uint32) {
	const group = 64
	var probes [group]struct {
		probe
		i, row uint32
		base   []byte
	}
	for first := 0; first < len(bases); first += group {
		some := probes[:min(group, len(bases)-first)]
		for k := range some {
			sum := t.index.key.sum(bytesOf(bases[first+k]))
			some[k].probe, some[k].i = probe{sum: sum, at: sum}, uint32(first+k)
		}
		for len(some) > 0 {
			for k := range some {
				some[k].row = t.slot(&some[k].probe)
			}
			for k := range some {
				if some[k].row != 0 {
					some[k].base = t.Base(some[k].row - 1)
				}
			}
			left := some[:0]
			for k := range some {
				p := &some[k]
				if p.row == 0 || string(p.base) == bases[p.i] {
					rows[p.i] = p.row
					continue
				}
				p.at++
				left = append(left, *p)
			}
			some = left
		}
	}
}

// probe is a position in the search for a base with a certain hash.
type probe struct {
	sum, at uint64
	old     bool // in the snapshot's part of the index
}

// slot returns the row plus one at which a probe is; 0: the base has no row.
func (t *Table) slot(p *probe) uint32 {
	if !p.old {
		if slots := t.index.slots; len(slots) > 0 {
			if e := slots[p.at&uint64(len(slots)-1)]; e != 0 {
				return e
			}
		}
		p.old, p.at = true, p.sum
	}
	blocks := uint64(len(t.index.old))
	if blocks == 0 || p.at-p.sum >= blocks*blockSlots {
		return 0
	}
	h := p.at & (blocks*blockSlots - 1)
	if e := t.block(h / blockSlots)[h%blockSlots]; e <= t.n {
		return e
	}
	return 0
}

// find returns the row of a base, starting the search at the probe.
func (t *Table) find(p probe, base string) (uint32, bool) {
	for ; ; p.at++ {
		e := t.slot(&p)
		if e == 0 {
			return 0, false
		}
		if string(t.Base(e-1)) == base {
			return e - 1, true
		}
	}
}

// link enters row n in the index, replacing a row with the same base: old, if again is
// true.
func (t *Table) link(n uint32) (old uint32, again bool) {
	x := &t.index
	t.growIndex(x.used + 1)
	base := t.Base(n)
	mask := uint64(len(x.slots) - 1)
	sum := x.key.sum(base)
	h := sum & mask
	for ; x.slots[h] != 0; h = (h + 1) & mask {
		if old = x.slots[h] - 1; string(t.Base(old)) == string(base) {
			x.slots[h] = n + 1
			return old, true
		}
	}
	x.used++
	x.slots[h] = n + 1
	return t.find(probe{sum: sum, at: sum, old: true}, stringOf(base))
}

// growIndex makes room for that many used slots.
func (t *Table) growIndex(used int) {
	x := &t.index
	size := max(leastSlots, len(x.slots))
	for size < 2*used {
		size *= 2
	}
	if size == len(x.slots) {
		return
	}
	old := x.slots
	x.slots = make([]uint32, size)
	mask := uint64(len(x.slots) - 1)
	for _, e := range old {
		if e == 0 {
			continue
		}
		h := x.key.sum(t.Base(e-1)) & mask
		for x.slots[h] != 0 {
			h = (h + 1) & mask
		}
		x.slots[h] = e
	}
}

// slotBlock is a run of slots of the index.
type slotBlock [blockSlots]uint32

const blockSlots = 1024

// block returns a block of slots, reading it if necessary.
func (t *Table) block(i uint64) *slotBlock {
	if b := t.index.old[i].Load(); b != nil {
		return b
	}
	s := t.saved
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := t.index.old[i].Load(); b != nil {
		return b
	}
	block := new(slotBlock)
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	if raw, err := s.readInto(room, s.slots[i]); err != nil {
		t.fail(err)
	} else {
		for k := range block {
			block[k] = binary.LittleEndian.Uint32(raw[4*k:])
		}
	}
	t.index.old[i].Store(block)
	s.done()
	return block
}
