package filename

import (
	"cmp"
	"slices"
)

// sortKey is what Compare examines first in a name, and the index of the name.
type sortKey struct {
	seconds  int64
	micros   int32
	hasMicro bool
	index    uint32
}

// SortBy sorts up to 2^32 elements in the order in which UIDs are assigned to their names;
// tie decides between two with the same name. It reads most names only once.
//
// The order is that of Compare, which always orders two names. For three names it may be
// inconsistent, if they are of the same second and not all have microseconds: .V1M9 is
// before .M10 by these, and .M10 before .R and .R before .V1M9 by text. Dovecot's qsort in
// maildir_uidlist_assign_uids then returns any order. Here, a name without microseconds
// comes after the last name with microseconds that is before it; this is Compare's order
// wherever that is consistent.
func SortBy[E any](list []E, name func(E) string, tie func(a, b E) int) {
	keys := make([]sortKey, len(list))
	for i, e := range list {
		seconds, rest := leadingNumber(name(e))
		k := sortKey{seconds: int64(seconds), index: uint32(i)}
		k.micros, k.hasMicro = microseconds(rest)
		keys[i] = k
	}
	keys = bySeconds(keys)
	compare := func(a, b sortKey) int {
		if a.hasMicro && b.hasMicro && a.micros != b.micros {
			return cmp.Compare(a.micros, b.micros)
		}
		x, y := list[a.index], list[b.index]
		if c := Compare(name(x), name(y)); c != 0 {
			return c
		}
		return tie(x, y)
	}
	for rest := keys; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].seconds == rest[0].seconds {
			n++
		}
		if n > 1 {
			sortSecond(rest[:n], compare)
		}
		rest = rest[n:]
	}
	permute(list, keys)
}

// sortSecond sorts the keys of one second.
func sortSecond(keys []sortKey, compare func(a, b sortKey) int) {
	if !slices.ContainsFunc(keys, func(k sortKey) bool { return k.hasMicro != keys[0].hasMicro }) {
		slices.SortFunc(keys, compare)
		return
	}
	var with, without []sortKey
	for _, k := range keys {
		if k.hasMicro {
			with = append(with, k)
		} else {
			without = append(without, k)
		}
	}
	slices.SortFunc(with, compare) // each of the two parts has a total order
	slices.SortFunc(without, compare)
	for at := len(keys) - 1; at >= 0; at-- { // from the last one on
		if w := len(without); w == 0 || len(with) > 0 && compare(with[len(with)-1], without[w-1]) > 0 {
			keys[at], with = with[len(with)-1], with[:len(with)-1]
		} else {
			keys[at], without = without[w-1], without[:w-1]
		}
	}
}

// bySeconds returns the keys ordered only by their seconds, in the given slice or another.
// Many keys are sorted digit by digit, starting with the least significant: the seconds of
// a folder's messages differ in at most 30 bits.
func bySeconds(keys []sortKey) []sortKey {
	if len(keys) < 64 {
		slices.SortFunc(keys, func(a, b sortKey) int { return cmp.Compare(a.seconds, b.seconds) })
		return keys
	}
	least, most := keys[0].seconds, keys[0].seconds
	for i := range keys {
		least, most = min(least, keys[i].seconds), max(most, keys[i].seconds)
	}
	const bits = 11
	other := make([]sortKey, len(keys))
	for shift, span := 0, uint64(most)-uint64(least); span > 0; shift, span = shift+bits, span>>bits {
		digit := func(k *sortKey) uint64 { return (uint64(k.seconds) - uint64(least)) >> shift % (1 << bits) }
		var next [1 << bits]uint32 // place of the next key with each digit
		for i := range keys {
			next[digit(&keys[i])]++
		}
		at := uint32(0)
		for i, n := range next {
			next[i] = at
			at += n
		}
		for i := range keys {
			to := &next[digit(&keys[i])]
			other[*to] = keys[i]
			*to++
		}
		keys, other = other, keys
	}
	return keys
}

// permute moves the element with the index in keys[i] to place i of the list.
func permute[E any](list []E, keys []sortKey) {
	for start := range keys {
		first := list[start]
		for to := start; ; {
			from := int(keys[to].index)
			keys[to].index = uint32(to) // done
			if from == start {
				list[to] = first
				break
			}
			list[to] = list[from]
			to = from
		}
	}
}
