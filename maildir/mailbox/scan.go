package mailbox

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"unsafe"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// scan lists new/ and cur/ and brings the table in step with them. m.sync is held, and so
// is the uidlist's lock unless it cannot be had (lock nil).
func (m *Mailbox) scan(ctx context.Context, lock *dotlock.Lock) error {
	defer m.events.expect()()
	m.forgetAway()
	var fresh []entry
	var missing []uint32 // by every pass
	var last []uint32    // by the last one
	var before dirTimes
	for pass := 1; ; pass++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.touch(lock)
		var err error
		if before, err = m.readTimes(); err != nil {
			return err
		}
		if before.racy { // what happens before the watch starts may not show
			m.watch.join()
		}
		p, err := m.listOnce()
		if err != nil {
			return err
		}
		m.watch.join()
		if pass == 1 {
			fresh, missing = p.fresh, p.missing
		} else {
			// File names come and go between passes; the last pass is the valid one.
			fresh = p.fresh
			missing = intersect(missing, p.missing)
		}
		after, err := m.readTimes()
		if err != nil {
			return err
		}
		last = p.missing
		same := before.new == after.new && before.cur == after.cur
		if len(missing) == 0 && (same || pass > 1) || same && !before.racy || pass >= 4 {
			break
		}
	}
	if len(last) > len(missing) { // an earlier pass met their files, which went, or were renamed again
		m.events.orderScan()
	}
	missing = slices.DeleteFunc(missing, m.stillThere)
	m.expunged(missing)
	if err := m.assign(lock, fresh); err != nil {
		return err
	}
	m.setTimes(before)
	return nil
}

// pass is the result of listing both directories once.
type pass struct {
	fresh   []entry  // files that do not belong to a row with a file; may repeat
	missing []uint32 // rows that are present or expected, but have no file
}

// listOnce lists new/ and then cur/, the direction in which messages move.
func (m *Mailbox) listOnce() (pass, error) {
	m.mu.RLock()
	l := listing{m: m, marks: m.t.Marks(), seen: make([]uint64, m.t.Len()/64+1), empty: m.t.Len() == 0}
	m.mu.RUnlock()
	for _, where := range []table.Place{table.InNew, table.InCur} {
		l.where = where
		if err := m.dirs.in(where).ListMany(l.take); err != nil {
			return pass{}, err
		}
	}
	// Names that differ from the table's: a rename, or a second file.
	for _, e := range l.doubtful {
		st, err := m.dirs.lstat(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed since it was listed; its other name was or will be found
		}
		if err != nil {
			return pass{}, err
		}
		if !m.takeName(e) {
			l.fresh = append(l.fresh, e)
		} else {
			m.compareFile(e, st)
		}
	}
	for _, e := range l.others {
		m.foundInode(e)
	}
	return pass{l.fresh, l.missing()}, nil
}

// listing compares what is listed with the table.
type listing struct {
	m     *Mailbox
	where table.Place
	empty bool // the table has no rows
	marks *table.Marks

	seen     []uint64 // rows whose file was found, one bit each
	fresh    []entry
	doubtful []entry // of present rows, under names that differ from the table's
	others   []entry // of present rows, under their names, with different inode numbers
	kept     nameStore

	// The files listed last. The names are valid until take returns.
	names, bases []string
	inodes, rows []uint32
}

// take processes some entries of the directory where.
func (l *listing) take(some []dirfd.Entry) {
	l.names, l.inodes = l.names[:0], l.inodes[:0]
	for _, d := range some {
		name := unsafe.String(unsafe.SliceData(d.Name), len(d.Name))
		if filename.Ignored(name) || d.Kind != dirfd.KindRegular && !l.m.regular(entry{where: l.where, name: name}, d.Kind) {
			continue
		}
		l.names, l.inodes = append(l.names, name), append(l.inodes, d.Inode)
	}
	if l.empty {
		if n := len(l.names); n > cap(l.fresh)-len(l.fresh) {
			l.fresh = slices.Grow(l.fresh, max(n, min(3*len(l.fresh), 1<<14), len(l.fresh)))
		}
		for i, name := range l.names {
			l.fresh = append(l.fresh, l.kept.keep(entry{l.where, l.inodes[i], name}))
		}
		return
	}
	l.dropMarked()
	l.m.mu.RLock()
	defer l.m.mu.RUnlock()
	for at := 0; at < len(l.names); at += together {
		end := min(at+together, len(l.names))
		l.compare(l.names[at:end], l.bases[at:end], l.inodes[at:end])
	}
}

// dropMarked drops the files that the table already has unchanged, and determines the bases
// of the others.
func (l *listing) dropMarked() {
	l.rows = slices.Grow(l.rows[:0], len(l.names))[:len(l.names)]
	l.marks.FindEach(l.where, l.names, l.inodes, l.rows)
	others, inodes := l.names[:0], l.inodes[:0]
	l.bases = l.bases[:0]
	for i, name := range l.names {
		if n := l.rows[i] - 1; l.rows[i] != 0 && !l.has(n) {
			l.seen[n/64] |= 1 << (n % 64)
			continue
		}
		others, inodes = append(others, name), append(inodes, l.inodes[i])
		l.bases = append(l.bases, filename.Base(name))
	}
	l.names, l.inodes = others, inodes
}

// together is how many names are compared at once: few enough that what was read for the
// first ones is still in the processor's cache.
const together = 64

// compare looks up the rows of names, given their bases and inode numbers. m.mu is held.
func (l *listing) compare(names, bases []string, inodes []uint32) {
	t := l.m.t
	var rows [together]uint32
	t.LookupEach(bases, rows[:len(names)])
	for i, name := range names {
		n, e := rows[i]-1, entry{l.where, inodes[i], name}
		if rows[i] == 0 || t.Row(n).State == table.Expunged {
			l.fresh = append(l.fresh, l.kept.keep(e))
			continue
		}
		again := l.has(n)
		l.seen[n/64] |= 1 << (n % 64)
		switch {
		case t.Row(n).State == table.Absent:
			l.fresh = append(l.fresh, l.kept.keep(e))
		case again || !t.HasName(n, l.where, name):
			l.doubtful = append(l.doubtful, l.kept.keep(e))
		case t.Row(n).Inode != inodes[i]:
			l.others = append(l.others, l.kept.keep(e))
		}
	}
}

// has reports whether the file of a row was found.
func (l *listing) has(n uint32) bool { return l.seen[n/64]&(1<<(n%64)) != 0 }

// missing returns the rows that should have a file and whose file was not found.
func (l *listing) missing() (rows []uint32) {
	m := l.m
	m.mu.RLock()
	defer m.mu.RUnlock()
	for n := range m.t.Len() {
		if state := l.marks.State(n); !l.has(n) && (state == table.Present || state == table.Absent && m.modseqs.expected(n)) {
			rows = append(rows, n)
		}
	}
	return rows
}

// nameStore stores the names of a listing, many in one block of memory.
type nameStore struct{ piece strings.Builder }

func (k *nameStore) keep(e entry) entry {
	if at := k.piece.Len(); k.piece.Cap()-at < len(e.name) {
		k.piece = strings.Builder{}
		k.piece.Grow(min(max(2*at, 1<<10), 64<<10) + len(e.name))
	}
	at := k.piece.Len()
	k.piece.WriteString(e.name)
	e.name = k.piece.String()[at:]
	return e
}

// lineUp copies the names of very many files so that they are in memory in the order of the
// list; otherwise, walking through the list would wait for memory at each one.
func lineUp(files []entry) {
	if len(files) < 1<<15 { // these fit in a processor's cache
		return
	}
	var kept nameStore
	for i, e := range files {
		files[i] = kept.keep(e)
	}
}

// regular reports whether an entry of unknown or other kind is a regular file.
func (m *Mailbox) regular(e entry, kind dirfd.Kind) bool {
	if kind == dirfd.KindUnknown {
		st, err := m.dirs.lstat(e)
		return err == nil && st.Regular()
	}
	m.env.Log.Warn("ignoring something among the messages that is not a regular file",
		"mailbox", m.Path(), "name", strings.Clone(e.name))
	return false
}

// presentRow returns the row that a file's name belongs to, if that row has a file.
func (m *Mailbox) presentRow(name string) (uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.Lookup(filename.Base(name))
	return n, ok && m.t.Row(n).State == table.Present
}

// stillThere reports whether a row whose file the passes missed has its file after all.
// Something other than a regular file does not count: the passes skip it.
func (m *Mailbox) stillThere(n uint32) bool {
	m.mu.RLock()
	names := []entry{{where: m.t.Row(n).Where, name: m.t.FileName(n)}}
	if m.t.Row(n).State == table.Absent {
		base := string(m.t.Base(n))
		names = []entry{{where: table.InNew, name: base}, {where: table.InCur, name: filename.WithFlags(base, m.t.Row(n).Flags)}}
	}
	m.mu.RUnlock()
	return slices.ContainsFunc(names, func(e entry) bool {
		st, err := m.dirs.lstat(e)
		return err == nil && st.Regular() || err != nil && !errors.Is(err, fs.ErrNotExist)
	})
}

// touch keeps a lock that is held for long from looking stale.
func (m *Mailbox) touch(lock *dotlock.Lock) {
	if lock == nil {
		return
	}
	if err := lock.Touch(); err != nil {
		m.env.Log.Warn("cannot refresh the mailbox lock", "mailbox", m.Path(), "error", err)
	}
}

// intersect returns the elements of a that are also in b. Both are ascending.
func intersect(a, b []uint32) []uint32 {
	return slices.DeleteFunc(a, func(n uint32) bool {
		_, ok := slices.BinarySearch(b, n)
		return !ok
	})
}
