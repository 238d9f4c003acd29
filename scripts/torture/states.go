package torture

import (
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// wreck is what a power cut leaves of changes to a file's content that were not synced.
type wreck int

// The values of wreck.
const (
	dropped wreck = iota // nothing
	written              // everything
	torn                 // everything, but the last write only in part
	zeroed               // the length, with zeros
	holed                // only the last write, with zeros before it
)

// fate is one possible outcome of a power cut.
type fate struct {
	chosen map[*change]bool // names that are on disk although they were not synced
	files  wreck
}

// fates calls f with possible outcomes of a power cut at this moment, in random order,
// until f returns false.
func (d *disk) fates(rng *rand.Rand, f func(fate) bool) {
	var units [][]*change
	files := []wreck{dropped}
	for _, c := range d.ops {
		switch {
		case c.durable:
		case c.ofFile():
			files = []wreck{dropped, written, torn, zeroed, holed}
		case c.first != nil && !d.loose:
			// handled with the first half
		case c.second != nil && !d.loose:
			units = append(units, []*change{c, c.second})
		default:
			units = append(units, []*change{c})
		}
	}
	var all []fate
	for _, on := range subsets(rng, len(units)) {
		chosen := map[*change]bool{}
		for i, yes := range on {
			for _, c := range units[i] {
				chosen[c] = yes
			}
		}
		for _, w := range files {
			all = append(all, fate{chosen, w})
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, one := range all {
		if !f(one) {
			return
		}
	}
}

// subsets returns all subsets of n things, or many of them.
func subsets(rng *rand.Rand, n int) [][]bool {
	const all, some = 4, 12
	var out [][]bool
	if n <= all {
		for bits := range 1 << n {
			s := make([]bool, n)
			for i := range s {
				s[i] = bits>>i&1 == 1
			}
			out = append(out, s)
		}
		return out
	}
	fill := func(yes bool) []bool { return slices.Repeat([]bool{yes}, n) }
	out = append(out, fill(false), fill(true))
	for i := max(0, n-all); i < n; i++ {
		alone, missing, prefix := fill(false), fill(true), fill(true)
		alone[i], missing[i] = true, false
		for j := i; j < n; j++ {
			prefix[j] = false
		}
		out = append(out, alone, missing, prefix)
	}
	for range some {
		s := fill(false)
		for i := range s {
			s[i] = rng.IntN(2) == 0
		}
		out = append(out, s)
	}
	return out
}

func (f fate) has(c *change) bool {
	return c.durable || f.chosen[c] && (c.needs == nil || f.has(c.needs))
}

// left is what a power cut left on a disk.
type left struct {
	disk  *disk
	names map[*inode]map[string]*inode
	data  map[*inode][]byte
}

func (d *disk) after(f fate) left {
	l := left{d, map[*inode]map[string]*inode{}, map[*inode][]byte{}}
	lastOf := map[*inode]*change{}
	for _, c := range d.ops {
		if c.ofFile() && !c.durable {
			lastOf[c.on] = c
		}
	}
	for _, c := range d.ops {
		if c.ofFile() {
			l.data[c.on] = f.content(c, l.content(c.on), lastOf[c.on] == c)
			continue
		}
		names := l.names[c.on]
		if names == nil {
			names = map[string]*inode{}
			maps.Copy(names, c.on.safeNames)
			l.names[c.on] = names
		}
		if f.has(c) && (c.first == nil || f.has(c.first)) {
			setName(names, c.name, c.target)
		}
	}
	return l
}

// content applies a change of a file as far as the outcome includes it.
func (f fate) content(c *change, data []byte, last bool) []byte {
	if c.durable {
		return c.applyData(data)
	}
	switch f.files {
	case written:
		return c.applyData(data)
	case torn:
		if last && len(c.write) > 1 {
			half := *c
			half.write = c.write[:len(c.write)/2]
			return half.applyData(data)
		}
		return c.applyData(data)
	case zeroed:
		zeros := *c
		zeros.write = make([]byte, len(c.write))
		return zeros.applyData(data)
	case holed:
		if last {
			return c.applyData(data)
		}
	}
	return data
}

func (l left) content(in *inode) []byte {
	if data, ok := l.data[in]; ok {
		return data
	}
	return in.safeData
}

func (l left) entries(in *inode) map[string]*inode {
	if names, ok := l.names[in]; ok {
		return names
	}
	return in.safeNames
}

// walk visits everything below a directory, sorted by name.
func (l left) walk(in *inode, path string, f func(path string, in *inode) error) error {
	entries := l.entries(in)
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		sub, p := entries[name], filepath.Join(path, name)
		if err := f(p, sub); err != nil {
			return err
		}
		if sub.names != nil {
			if err := l.walk(sub, p, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// find returns the directory at a path below the root, nil if there is none.
func (l left) find(path ...string) *inode {
	in := l.disk.root
	for _, name := range path {
		if in = l.entries(in)[name]; in == nil || in.names == nil {
			return nil
		}
	}
	return in
}

// sum returns a hash of everything below a directory.
func (l left) sum(in *inode) [sha256.Size]byte {
	h := sha256.New()
	_ = l.walk(in, "", func(path string, in *inode) error {
		sum := in.safeSum()
		if data, ok := l.data[in]; ok {
			sum = sha256.Sum256(data)
		}
		h.Write([]byte(path))
		h.Write(sum[:])
		return nil
	})
	return [sha256.Size]byte(h.Sum(nil))
}

// write writes everything below a directory to real files, except lock files: a program takes
// over the locks of a dead process when they have reached some age (see the tests of package
// dotlock), which they have after a machine has restarted, but would not have here.
func (l left) write(in *inode, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	made := map[*inode]string{}
	return l.walk(in, to, func(path string, in *inode) error {
		if in.names != nil {
			return os.Mkdir(path, 0o700)
		}
		if filepath.Ext(path) == ".lock" {
			return nil
		}
		if first, ok := made[in]; ok {
			return os.Link(first, path)
		}
		made[in] = path
		return os.WriteFile(path, l.content(in), 0o600)
	})
}
