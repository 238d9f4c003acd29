package mailbox

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/dchest/siphash"
)

// index finds a row by its base: open addressing, row+1, 0 is free. What a
// snapshot has is in slots that are read when they are needed; rows that were
// added since are in slots of their own, which are looked at first.
//
// Who puts files into a folder chooses their names, so the hash has a random
// key, which goes with the snapshot.
type index struct {
	key   hashKey
	slots []uint32
	used  int
	old   []atomic.Pointer[slotBlock] // of the snapshot, nil: not read yet
}

type hashKey [2]uint64

func newIndex() index {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return index{key: hashKey{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}}
}

func (k hashKey) sum(base []byte) uint64 { return siphash.Hash(k[0], k[1], base) }

// bytesOf is the octets of a string, not to be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf is the octets as a string, which is good as long as they do not change.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// lookup finds the row of a base.
func (t *table) lookup(base string) (uint32, bool) {
	if t.n == 0 {
		return 0, false
	}
	sum := t.index.key.sum(bytesOf(base))
	if slots := t.index.slots; len(slots) > 0 {
		mask := uint64(len(slots) - 1)
		for h := sum & mask; slots[h] != 0; h = (h + 1) & mask {
			if n := slots[h] - 1; string(t.base(n)) == base {
				return n, true
			}
		}
	}
	return t.lookupOld(sum, base)
}

// link enters row n in the index, in the place of a row with the same base: old,
// if again is true.
func (t *table) link(n uint32) (old uint32, again bool) {
	x := &t.index
	t.growIndex(x.used + 1)
	base := t.base(n)
	mask := uint64(len(x.slots) - 1)
	sum := x.key.sum(base)
	h := sum & mask
	for ; x.slots[h] != 0; h = (h + 1) & mask {
		if old = x.slots[h] - 1; string(t.base(old)) == string(base) {
			x.slots[h] = n + 1
			return old, true
		}
	}
	x.used++
	x.slots[h] = n + 1
	return t.lookupOld(sum, stringOf(base))
}

// growIndex makes room for so many slots that are in use.
func (t *table) growIndex(used int) {
	x := &t.index
	size := max(64, len(x.slots))
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
		h := x.key.sum(t.base(e-1)) & mask
		for x.slots[h] != 0 {
			h = (h + 1) & mask
		}
		x.slots[h] = e
	}
}
