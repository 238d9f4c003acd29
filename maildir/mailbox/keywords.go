package mailbox

import (
	"errors"
	"slices"
	"strings"

	"maildird/maildir/filename"
	"maildird/maildir/keywords"
	"maildird/maildir/mailbox/table"
)

// letterNames are the names of the keyword letters, "" for a letter without a name.
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

// nameless returns those of the keyword letters among flags that have no name.
func (l *letterNames) nameless(flags filename.Flags) filename.Flags {
	for i, name := range l {
		if name != "" {
			flags &^= filename.Keyword(i)
		}
	}
	return flags & filename.Keywords
}

// of returns the names of the keyword letters among flags.
func (l *letterNames) of(flags filename.Flags) (words []string) {
	flags.EachKeyword(func(i int) {
		if l[i] != "" {
			words = append(words, l[i])
		}
	})
	return words
}

// readKeywords takes over the current names of the keyword letters. m.sync is held.
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

// takeKeywords tells the views which letters got a name, or a different one, and which
// messages have these letters.
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
	m.modseqs.lettersChanged(changed)
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.State == table.Present && r.Flags&changed != 0 {
			m.tellFlags(n, nil)
		}
	}
}

// knowsLetters makes sure that the names of the keyword letters in a file's name are known.
// Dovecot renames the file first and then names the letter, both under the uidlist's lock:
// without the lock, knowsLetters returns errNeedLock, so that the caller waits for the
// name. A letter that has no name even under the lock means nothing.
func (m *Mailbox) knowsLetters(e entry, locked bool) error {
	letters := filename.FlagsOf(e.name) & filename.Keywords
	unknown := func() bool {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return letters != 0 && m.names.nameless(letters) != 0
	}
	if locked || !unknown() { // the names were read under the lock
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

// lacks reports whether one of the keywords has no letter yet.
func (m *Mailbox) lacks(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { _, ok := m.words.Index(w); return !ok })
}

// letters turns keyword names into flags. With add, it assigns letters to names that have
// none; without, it ignores such names. The uidlist's lock is held.
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

// namelessInUse returns the keyword letters that are used in file names and have no name.
// They are not assigned, since another program may know what they mean.
func (m *Mailbox) namelessInUse() filename.Flags {
	m.mu.RLock()
	defer m.mu.RUnlock()
	nameless := m.names.nameless(filename.Keywords)
	var used filename.Flags
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.State == table.Present {
			used |= r.Flags & nameless
		}
	}
	return used
}

// forwarded is the keyword for which mbsync and others use the letter P. If a client sets
// it, it is stored as a keyword letter, as in Dovecot; an existing P stays in the name
// until a client removes the keyword.
const forwarded = "$Forwarded"
