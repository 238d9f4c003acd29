package table

import (
	"math/bits"

	"maildird/maildir/filename"
)

// Before returns the number of present rows below n.
func (t *Table) Before(n uint32) uint32 {
	if n >= t.n {
		return t.count
	}
	var sum uint32
	for i := n / PageRows; i > 0; i -= lowbit(i) {
		sum += t.alive[i-1]
	}
	if i := n % PageRows; i > 0 {
		alive := &t.page(n).alive
		for w := range i / 64 {
			sum += uint32(bits.OnesCount64(alive[w]))
		}
		sum += uint32(bits.OnesCount64(alive[i/64] & (1<<(i%64) - 1)))
	}
	return sum
}

// Nth returns the row that has k present rows before it. ok is false past the end.
func (t *Table) Nth(k uint32) (n uint32, ok bool) {
	if k >= t.count {
		return 0, false
	}
	at, size := uint32(0), uint32(len(t.alive))
	for step := uint32(1) << (31 - bits.LeadingZeros32(size)); step > 0; step >>= 1 {
		if next := at + step; next <= size && t.alive[next-1] <= k {
			at = next
			k -= t.alive[next-1]
		}
	}
	n = at * PageRows
	for _, word := range t.page(n).alive {
		if c := uint32(bits.OnesCount64(word)); c <= k {
			k -= c
			n += 64
			continue
		}
		for ; k > 0; k-- {
			word &= word - 1
		}
		return n + uint32(bits.TrailingZeros64(word)), true
	}
	return at * PageRows, true // the page could not be read: it is one of its rows, all of which are gone
}

// FirstUnseen returns the first present row without \Seen. ok is false if there is none.
func (t *Table) FirstUnseen() (n uint32, ok bool) {
	for i, p := range t.pages {
		if p.Unseen == 0 {
			continue
		}
		for n := uint32(i) * PageRows; n < min(t.n, uint32(i+1)*PageRows); n++ {
			if r := t.Row(n); r.State == Present && r.Flags&filename.Seen == 0 {
				return n, true
			}
		}
	}
	return 0, false
}

// FirstFrom returns the first row with at least this UID, or Len if there is none.
func (t *Table) FirstFrom(uid uint32) uint32 {
	at := search(uint32(len(t.pages)), func(i uint32) bool { return t.pages[i].first > uid })
	if at == 0 {
		return 0
	}
	from := (at - 1) * PageRows
	rows := t.page(from).rows
	return from + search(uint32(len(rows)), func(i uint32) bool { return rows[i].UID >= uid })
}

// search returns the smallest i < n for which f is true, or n if there is none.
func search(n uint32, f func(uint32) bool) uint32 {
	lo := uint32(0)
	for lo < n {
		if mid := (lo + n) / 2; f(mid) {
			n = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// ByUID returns the row of a UID, whatever its state.
func (t *Table) ByUID(uid uint32) (uint32, bool) {
	n := t.FirstFrom(uid)
	return n, n < t.n && t.Row(n).UID == uid
}

// LastUID returns the UID of the last row, 0 if there is none.
func (t *Table) LastUID() uint32 {
	if t.n == 0 {
		return 0
	}
	return t.Row(t.n - 1).UID
}

func lowbit(i uint32) uint32 { return i & -i }
