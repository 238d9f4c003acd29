package mailbox

import (
	"errors"
	"slices"
	"strings"

	"maildird/maildir/filename"
	"maildird/maildir/keywords"
	"maildird/maildir/mailbox/table"
)

// letterNames are the names of the keyword letters, "" for none.
type letterNames [filename.MaxKeywords]string

func (l *letterNames) index(name string) (int, bool) {
	for i, have := range l {
		if have != "" && strings.EqualFold(have, name) {
			return i, true
		}
	}
	return 0, false
}

func (l *letterNames) full() bool {
	for _, have := range l {
		if have == "" {
			return false
		}
	}
	return true
}

// readKeywords takes over the names of the keyword letters. m.sync is held.
func (m *Mailbox) readKeywords() error {
	changed, err := m.words.Refresh()
	if err != nil {
		return err
	}
	if changed {
		m.takeKeywords()
	}
	return nil
}

// takeKeywords tells the views of letters that got a name, or another one, and
// of the messages that carry them.
func (m *Mailbox) takeKeywords() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changed filename.Flags
	for i := range m.names {
		name, _ := m.words.Name(i)
		if name != m.names[i] {
			m.names[i] = name
			changed |= filename.Keyword(i)
		}
	}
	if changed == 0 {
		return
	}
	for v := range m.views {
		v.keywords = true
	}
	m.lettersChanged(changed)
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.State == table.Present && r.Flags&changed != 0 {
			m.tellFlags(n, nil)
		}
	}
}

// knowsLetters makes sure that the names of the keyword letters of a file are
// known. Dovecot renames the file first and names the letter after that, both
// under the uidlist's lock: without it, errNeedLock says to wait for the name.
// A letter that has no name then means nothing.
func (m *Mailbox) knowsLetters(e entry, locked bool) error {
	letters := filename.FlagsOf(e.name) & filename.Keywords
	unknown := func() bool {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return letters != 0 && m.nameless(letters) != 0
	}
	if locked || !unknown() { // under the lock the names were read
		return nil
	}
	if err := m.readKeywords(); err != nil {
		return err
	}
	if unknown() {
		return errNeedLock
	}
	return nil
}

// lacks tells whether one of the keywords has no letter yet.
func (m *Mailbox) lacks(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { _, ok := m.words.Index(w); return !ok })
}

// letters turns keyword names into flags. With add, names without a letter get
// one; otherwise they stand for nothing. The uidlist's lock is held.
func (m *Mailbox) letters(words []string, add bool) (filename.Flags, error) {
	if len(words) == 0 {
		return 0, nil
	}
	var f filename.Flags
	if !add {
		for _, w := range words {
			if i, ok := m.words.Index(w); ok {
				f |= filename.Keyword(i)
			}
		}
		return f, nil
	}
	var avoid filename.Flags
	if m.lacks(words) {
		avoid = m.namelessInUse()
	}
	indexes, err := m.words.Add(avoid, words...)
	if errors.Is(err, keywords.ErrFull) {
		return 0, ErrKeywords
	}
	if err != nil {
		return 0, err
	}
	for _, i := range indexes {
		f |= filename.Keyword(i)
	}
	m.takeKeywords()
	return f, nil
}

// namelessInUse gives the keyword letters that stand in file names and have no
// name. Another program may know what they mean: they are not given away.
func (m *Mailbox) namelessInUse() filename.Flags {
	m.mu.RLock()
	defer m.mu.RUnlock()
	nameless := m.nameless(filename.Keywords)
	var used filename.Flags
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.State == table.Present {
			used |= r.Flags & nameless
		}
	}
	return used
}

// nameless gives those of the keyword letters that have no name. m.mu is held.
func (m *Mailbox) nameless(letters filename.Flags) filename.Flags {
	for i, name := range m.names {
		if name != "" {
			letters &^= filename.Keyword(i)
		}
	}
	return letters & filename.Keywords
}

// forwarded is the keyword that mbsync and others write as the letter P. A
// client's is stored as a keyword letter, as Dovecot stores it; P stays in a
// name until a client removes the keyword.
const forwarded = "$Forwarded"
