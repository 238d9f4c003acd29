// Package keywords reads and writes dovecot-keywords, the names of the keyword letters a to
// z in the file names of a Maildir folder.
//
// The file has a line "<index> <name>" for each letter that has a name; index 0 stands for
// "a". Names are unique regardless of case. An entry is never removed or renumbered,
// because files have its letter in their names, in this folder's past and in copies of it.
// Source: Dovecot's maildir-keywords.c.
//
// A program that adds a name holds the folder's dovecot-uidlist.lock and replaces the file.
// Dovecot detects that by the modification time in whole seconds, so each replacement has a
// time at least one second later than the previous one, in the future if necessary.
//
// The file may contain anything: a line whose name cannot be sent to clients (see
// validName), that repeats a name or an index, or that has an index above 25 is kept
// unchanged and defines no name; its letter counts as taken. A file that is too long or not
// a regular file is an error.
package keywords

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// ErrFull means that the names do not all fit in the 26 letters.
var ErrFull = errors.New("all 26 keyword letters of the folder are in use")

const (
	fileName = "dovecot-keywords"
	tempName = fileName + ".lock" // Dovecot's name for the new file
	maxFile  = 64 << 10
	maxName  = 255
)

// Table is the dovecot-keywords of one folder. It is not safe for concurrent use.
type Table struct {
	dir   *dirfd.Dir
	fsync bool
	list  list

	known bool
	seen  dirfd.Stat
	racy  bool // read so soon after its last change that another one may be hidden behind the same time

	// unsettled means that a name that was written may not be durable. A second sync may
	// wrongly report success, so the file is written again before it is relied on.
	unsettled bool
}

// New returns the table of the folder dir without reading it.
func New(dir *dirfd.Dir, fsync bool) *Table { return &Table{dir: dir, fsync: fsync} }

// Refresh reads the file if it has changed since the last call, and reports whether names
// may have changed. A missing file has no names. After an error the table is unchanged.
func (t *Table) Refresh() (changed bool, err error) {
	st, err := t.dir.Lstat(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		changed = t.known
		t.known, t.list = false, list{}
		return changed, nil
	}
	if err != nil {
		return false, err
	}
	if t.known && !t.racy && same(t.seen, st) {
		return false, nil
	}
	data, err := t.dir.ReadFile(fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return t.Refresh()
	}
	if err != nil {
		return false, err
	}
	was := t.list
	// The time was read before the content: later changes will be noticed next time.
	t.list, t.known, t.seen = parse(string(data)), true, st
	t.racy = time.Since(st.Ctime).Abs() < 3*time.Second
	return !was.equal(&t.list), nil
}

func same(a, b dirfd.Stat) bool { return stampOf(a) == stampOf(b) }

// Stamp identifies one state of the file, unless a later change keeps its size and, within
// the clock's tick, its times. The zero Stamp stands for no file.
type Stamp struct {
	id           dirfd.ID
	size         int64
	mtime, ctime int64 // nanoseconds
}

func stampOf(st dirfd.Stat) Stamp {
	return Stamp{st.ID(), st.Size, st.Mtime.UnixNano(), st.Ctime.UnixNano()}
}

// Stamp returns the stamp of the state that was last read or written.
func (t *Table) Stamp() Stamp {
	if !t.known {
		return Stamp{}
	}
	return stampOf(t.seen)
}

// StampNow returns the stamp of the file in dir in its current state. It is safe for
// concurrent use.
func StampNow(dir *dirfd.Dir) (Stamp, error) {
	st, err := dir.Lstat(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		return Stamp{}, nil
	}
	return stampOf(st), err
}

// Name returns the name of letter 'a'+index.
func (t *Table) Name(index int) (string, bool) {
	if index < 0 || index >= filename.MaxKeywords {
		return "", false
	}
	return t.list.names[index], t.list.names[index] != ""
}

// Index returns the index of a name, ignoring case.
func (t *Table) Index(name string) (int, bool) { return t.list.index(name) }

// Add assigns letters to names that have none yet, the lowest free ones, durable on return,
// and returns the indexes of all names. It returns ErrFull if they do not all fit; after
// any error, no name was added. Letters in avoid, which are used in file names although
// they have no name, count as taken. The folder's dovecot-uidlist.lock must be held.
func (t *Table) Add(avoid filename.Flags, names ...string) ([]int, error) {
	if _, err := t.Refresh(); err != nil {
		return nil, err
	}
	with := t.list
	with.odd = slices.Clip(with.odd)
	indexes := make([]int, len(names))
	added := false
	for i, name := range names {
		if !validName(name) {
			return nil, fmt.Errorf("%q cannot be a keyword", name)
		}
		n, ok := with.index(name)
		if !ok {
			if n, ok = with.free(avoid); !ok {
				return nil, ErrFull
			}
			with.names[n] = name
			added = true
		}
		indexes[i] = n
	}
	if !added && !t.unsettled {
		return indexes, nil
	}
	if err := t.write(with); err != nil {
		return nil, err
	}
	return indexes, nil
}

// write replaces the file.
func (t *Table) write(l list) error {
	file, err := t.dir.Replace(fileName, tempName, func(file *dirfd.File) error {
		mtime := time.Now()
		if t.known && mtime.Unix() <= t.seen.Mtime.Unix() {
			mtime = time.Unix(t.seen.Mtime.Unix()+1, 0)
		}
		_, err := file.Write(l.bytes())
		if err == nil {
			err = t.dir.Chtimes(tempName, mtime)
		}
		if err == nil && t.fsync {
			err = file.Sync()
		}
		return err
	})
	if err != nil {
		return err
	}
	defer file.Close()
	t.list, t.known = l, true
	t.unsettled = t.fsync
	if t.seen, err = dirfd.FileStat(file); err != nil {
		return err
	}
	t.racy = true
	if t.fsync {
		err = t.dir.Sync()
		t.unsettled = err != nil
	}
	return err
}

// list is a parsed file.
type list struct {
	names [filename.MaxKeywords]string
	taken [filename.MaxKeywords]bool // by a line in odd
	odd   []string                   // lines that define no name, verbatim
}

func parse(text string) list {
	var l list
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" {
			continue
		}
		digits, name, _ := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n >= filename.MaxKeywords {
			l.odd = append(l.odd, line)
			continue
		}
		if _, again := l.index(name); again || !validName(name) || l.names[n] != "" || l.taken[n] {
			l.odd = append(l.odd, line)
			l.taken[n] = true
			continue
		}
		l.names[n] = name
	}
	return l
}

func (l *list) bytes() []byte {
	var b []byte
	for i, name := range l.names {
		if name != "" {
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(b, ' ')
			b = append(b, name...)
			b = append(b, '\n')
		}
	}
	for _, line := range l.odd {
		b = append(b, line...)
		b = append(b, '\n')
	}
	return b
}

func (l *list) index(name string) (int, bool) {
	for i, have := range l.names {
		if have != "" && strings.EqualFold(have, name) {
			return i, true
		}
	}
	return 0, false
}

func (l *list) free(avoid filename.Flags) (int, bool) {
	for i, name := range l.names {
		if name == "" && !l.taken[i] && avoid&filename.Keyword(i) == 0 {
			return i, true
		}
	}
	return 0, false
}

func (l *list) equal(o *list) bool {
	return l.names == o.names && l.taken == o.taken && slices.Equal(l.odd, o.odd)
}

// validName reports whether a name can be sent to clients: it must be an atom (RFC 9051
// section 9, flag-keyword), but may also contain non-ASCII octets, which some clients use.
func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ' || c == 0x7f:
			return false
		case strings.IndexByte(`(){%*"\]`, c) >= 0:
			return false
		}
	}
	return true
}
