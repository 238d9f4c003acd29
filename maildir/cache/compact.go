package cache

import (
	"cmp"
	"slices"
)

// compactFrom is the smallest size of a data file that is worth compacting.
const compactFrom = 1 << 20

// compaction rewrites the files of a mailbox without what nobody needs.
type compaction struct {
	s     *Store
	id    ID
	alive []int64 // offsets of the records to keep, ascending
	upTo  int64   // entries of the index after this were added by others
	of    uint64  // number of the files
}

// compaction returns the job that compacts the files, nil if that is not worth while. b.mu
// is held.
func (b *Box) compaction() *compaction {
	n, err := size(b.files.data)
	if err != nil || n < compactFrom {
		return nil
	}
	c := &compaction{s: b.s, id: b.id, upTo: b.files.read, of: b.files.number}
	live := int64(0)
	for i := range b.facts {
		if f := &b.facts[i]; f.len > 0 {
			live += int64(f.len)
			c.alive = append(c.alive, f.off)
		}
	}
	if live > n/2 {
		return nil
	}
	slices.Sort(c.alive)
	return c
}

func (c *compaction) run() {
	old, err := c.s.openPair(c.id)
	if err != nil {
		return // gone, or replaced by others
	}
	defer old.close()
	if ok, err := lock(old.index); err != nil || !ok || old.number != c.of || !c.s.current(old) {
		return
	}
	p, err := c.s.createPair(c.id)
	if err != nil {
		c.s.failed(err)
		return
	}
	if err = c.copy(old, p); err == nil && !c.s.current(old) {
		p.abandon() // removed meanwhile, see Close of Box
		return
	}
	if err == nil {
		err = c.s.place(p)
	}
	if err != nil {
		p.abandon()
		c.s.failed(err)
		return
	}
	p.close()
}

// copy copies the records that are needed to new files, in the order of UIDs, in which they
// will be read.
func (c *compaction) copy(old, p *pair) error {
	var keep []entry
	err := old.each(func(e entry) {
		if e.has&outdated != 0 { // perhaps added by others in the meantime
			keep = slices.DeleteFunc(keep, func(k entry) bool { return k.key == e.key })
		}
		if e.len == 0 {
			return
		}
		if _, found := slices.BinarySearch(c.alive, e.off); found || old.read >= c.upTo {
			keep = append(keep, e)
		}
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(keep, func(a, b entry) int { return cmp.Compare(a.key.UID, b.key.UID) })
	var w Window
	defer w.Close()
	var data []byte
	var entries []entry
	for i, e := range keep {
		if raw := w.at(old, e.off, int(e.len)); raw != nil {
			if r, ok := parseRecord(raw, old.number, e.key); ok {
				e.off = int64(len(data))
				data = appendRecord(data, p.number, e.key, &r)
				entries = append(entries, e)
			}
		}
		if len(data) >= flushBytes || i == len(keep)-1 {
			if c.s.stopped() {
				return errStopped
			}
			if err := p.add(data, entries); err != nil {
				return err
			}
			data, entries = data[:0], entries[:0]
		}
	}
	return nil
}
