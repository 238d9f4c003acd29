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

// link enters row n in the index, in the place of a row with the same base.
func (t *table) link(n uint32) {
	x := &t.index
	if x.used*2 >= len(x.slots) {
		t.growIndex()
	}
	base := t.base(n)
	mask := uint64(len(x.slots) - 1)
	h := x.key.sum(base) & mask
	for ; x.slots[h] != 0; h = (h + 1) & mask {
		if string(t.base(x.slots[h]-1)) == string(base) {
			x.slots[h] = n + 1
			return
		}
	}
	x.used++
	x.slots[h] = n + 1
}

func (t *table) growIndex() {
	x := &t.index
	old := x.slots
	x.slots = make([]uint32, max(64, 2*len(old)))
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
