package mailbox

import (
	"errors"
	"io/fs"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// secondNames are the other names of files, by the row of the file. One is left by an
// interrupted move by link and unlink, or is there for as long as a move takes; two are left
// if the next program was interrupted too. Their inode numbers are not set.
type secondNames map[uint32]map[entry]struct{}

func (s secondNames) add(n uint32, e entry) {
	if s[n] == nil {
		s[n] = map[entry]struct{}{}
	}
	e.inode = 0
	s[n][e] = struct{}{}
}

func (s secondNames) remove(n uint32, e entry) {
	delete(s[n], e)
	if len(s[n]) == 0 {
		delete(s, n)
	}
}

// secondNameGrace is how long a second name of a file is left alone, since a move by link and
// unlink may be in progress. Dovecot waits as long (DUPE_LINKS_DELETE_SECS).
const secondNameGrace = 30 * time.Second

// dropSecond removes second names of files, which other programs take for messages. The
// uidlist's lock is held.
func (m *Mailbox) dropSecond() {
	for n, names := range m.secondNames {
		for e := range names {
			m.dropSecondName(n, e)
		}
	}
}

func (m *Mailbox) dropSecondName(n uint32, e entry) {
	m.mu.RLock()
	kept := entry{where: m.t.Row(n).Where, name: m.t.FileName(n)}
	gone := m.t.Row(n).State != table.Present
	m.mu.RUnlock()
	st, err := m.dirs.lstat(e)
	if gone || kept.sameName(e) || errors.Is(err, fs.ErrNotExist) {
		m.secondNames.remove(n, e)
		return
	}
	if err != nil || m.env.Now().Sub(st.Ctime) < secondNameGrace || !m.dirs.sameFile(kept, e) {
		return
	}
	// The name that stays may not be durable yet.
	if err = m.dirs.in(kept.where).Sync(); err == nil {
		err = m.dirs.remove(e)
	}
	if err != nil {
		m.env.Log.Warn("a message has two names", "mailbox", m.Path(), "name", kept.name, "other", e.name, "error", err)
		return
	}
	m.secondNames.remove(n, e)
	m.env.Log.Warn("a message had two names", "mailbox", m.Path(), "kept", kept.name, "removed", e.name)
}

// unlinkSeconds removes the second names of a row's file e, since the message would come
// back under them. A second name in new/ dates from before a move to cur/; one in cur/ may
// belong to a program that is just removing a flag.
func (m *Mailbox) unlinkSeconds(n uint32, e entry, flags filename.Flags) error {
	var names []entry
	for second := range m.secondNames[n] {
		if !m.dirs.sameFile(e, second) {
			continue
		}
		if second.where == table.InCur && filename.FlagsOf(second.name)&flags != flags {
			return errUnflagged
		}
		names = append(names, second)
	}
	for _, second := range names {
		if err := m.dirs.remove(second); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.secondNames.remove(n, second)
	}
	return nil
}
