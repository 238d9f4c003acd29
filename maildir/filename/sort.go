package filename

import (
	"cmp"
	"slices"
)

// sortKey is what Compare looks at first in a name, and where the name is.
type sortKey struct {
	seconds  int64
	micros   int32
	hasMicro bool
	index    uint32
}

// SortBy sorts up to 2^32 things as Compare orders their names; tie decides
// between two of the same name. It gives what slices.SortFunc would, and reads
// most names only once.
func SortBy[E any](list []E, name func(E) string, tie func(a, b E) int) {
	keys := make([]sortKey, len(list))
	for i, e := range list {
		seconds, rest := leadingNumber(name(e))
		k := sortKey{seconds: int64(seconds), index: uint32(i)}
		k.micros, k.hasMicro = microseconds(rest)
		keys[i] = k
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		if a.seconds != b.seconds {
			return cmp.Compare(a.seconds, b.seconds)
		}
		if a.hasMicro && b.hasMicro && a.micros != b.micros {
			return cmp.Compare(a.micros, b.micros)
		}
		x, y := list[a.index], list[b.index]
		if c := Compare(name(x), name(y)); c != 0 {
			return c
		}
		return tie(x, y)
	})
	permute(list, keys)
}

// permute puts the thing with the index in keys[i] in place i of the list.
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
