package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/keywords"
	"maildird/maildir/uidlist"
)

// ledger is what the actors of a run know about each message, by Message-ID. Only one actor
// flags, moves and expunges a given message, so that it knows its state.
type ledger struct {
	mu       sync.Mutex
	messages map[string]*entry
	uids     map[place]uint32 // every UID that any uidlist ever contained
	ids      map[string]string
}

type entry struct {
	states    []string // requested flags, in order; the last ones may not have taken effect
	confirmed int      // index of the last one that did
	moves     int
	gone      bool // whether its expunge was requested
}

// place is a message in a folder. Actors never move a message back to a folder, so its
// UID there is permanent.
type place struct{ folder, base string }

func newLedger() *ledger {
	return &ledger{messages: map[string]*entry{}, uids: map[place]uint32{}, ids: map[string]string{}}
}

// acknowledged records that a message was stored.
func (l *ledger) acknowledged(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages[id] == nil {
		l.messages[id] = &entry{states: []string{""}}
	}
}

// known reports whether a message was acknowledged and is not to be expunged.
func (l *ledger) known(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.messages[id]
	return e != nil && !e.gone
}

// flag runs an action that gives a message these flags.
func (l *ledger) flag(id, flags string, act func() error) error {
	l.mu.Lock()
	e := l.messages[id]
	e.states = append(e.states, flags)
	n := len(e.states) - 1
	l.mu.Unlock()
	err := act()
	l.mu.Lock()
	if err == nil {
		e.confirmed = n
	}
	l.mu.Unlock()
	return err
}

func (l *ledger) move(id string, act func() error) error {
	l.mu.Lock()
	l.messages[id].moves++
	l.mu.Unlock()
	return act()
}

func (l *ledger) expunge(id string, act func() error) error {
	l.mu.Lock()
	l.messages[id].gone = true
	l.mu.Unlock()
	return act()
}

// mark is the ledger at the time when a copy began.
type mark map[string]entry

func (l *ledger) mark() mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := mark{}
	for id, e := range l.messages {
		if !e.gone {
			m[id] = *e
		}
	}
	return m
}

// stored is a message on disk.
type stored struct {
	id, base, flags string
	uid             uint32 // 0 if not in the list
}

// read reads a folder of a Maildir.
func (l *ledger) read(dir string) ([]stored, error) {
	d, err := dirfd.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	uids := map[string]uint32{}
	if _, err := uidlist.New(d, uidlist.Options{}).Refresh(func(r uidlist.Record) { uids[r.Base] = r.UID }); err != nil {
		return nil, err
	}
	words := keywords.New(d, false)
	if _, err := words.Refresh(); err != nil {
		return nil, err
	}
	var all []stored
	for _, sub := range []string{"new", "cur"} {
		names, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			id, err := l.idOf(filepath.Join(dir, sub, n.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			base := filename.Base(n.Name())
			all = append(all, stored{id, base, flagText(n.Name(), words), uids[base]})
		}
	}
	return all, nil
}

// flagText returns flags in the form of the ledger.
func flagText(name string, words *keywords.Table) string {
	var out []string
	f := filename.FlagsOf(name)
	for flag, text := range map[filename.Flags]string{filename.Seen: `\Seen`, filename.Flagged: `\Flagged`, filename.Answered: `\Answered`, filename.Deleted: `\Deleted`, filename.Draft: `\Draft`} {
		if f&flag != 0 {
			out = append(out, text)
		}
	}
	f.EachKeyword(func(i int) {
		word, ok := words.Name(i)
		if !ok {
			word = fmt.Sprintf("letter %c without a name", 'a'+i)
		}
		out = append(out, word)
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

// idOf reads the Message-ID of a file, once for each base name.
func (l *ledger) idOf(path string) (string, error) {
	base := filename.Base(filepath.Base(path))
	l.mu.Lock()
	id, ok := l.ids[base]
	l.mu.Unlock()
	if ok {
		return id, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if id, ok := bytes.CutPrefix(bytes.ToLower(s.Bytes()), []byte("message-id: ")); ok {
			l.mu.Lock()
			l.ids[base] = strings.Trim(string(id), "<>\r")
			id := l.ids[base]
			l.mu.Unlock()
			return id, nil
		}
	}
	return "", fmt.Errorf("%s has no Message-ID", path)
}

// note records the UIDs in the list of a folder, and reports any that differ
// from the known ones.
func (l *ledger) note(t *testing.T, what, folder, dir string) {
	t.Helper()
	d, err := dirfd.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := uidlist.New(d, uidlist.Options{}).Refresh(func(r uidlist.Record) {
		at := place{folder, r.Base}
		if known := l.uids[at]; known != 0 && known != r.UID {
			t.Errorf("%s: %s in %q has UID %d, and had %d", what, r.Base, folder, r.UID, known)
		}
		l.uids[at] = r.UID
	}); err != nil {
		t.Fatal(err)
	}
}

// check compares a copy that was begun at a mark with the ledger: everything that was
// acknowledged must exist, no UID may have changed, and the flags must be some that the message
// had since. If strict is false, messages that were moved or had no UID before need none.
func (l *ledger) check(t *testing.T, what, copied string, begun mark, strict bool) {
	t.Helper()
	found := map[string]int{}
	for _, folder := range loadFolders {
		dir := filepath.Join(copied, folder)
		l.note(t, what, folder, dir)
		all, err := l.read(dir)
		if err != nil {
			t.Fatal(err)
		}
		bases := map[string]bool{}
		for _, m := range all {
			if bases[m.base] {
				t.Errorf("%s: %s is in %q under two names", what, m.base, folder)
			}
			bases[m.base] = true
			found[m.id]++
			l.checkOne(t, what, folder, m, begun, strict)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := 0
	for _, id := range slices.Sorted(maps.Keys(begun)) {
		if found[id] == 0 && !l.messages[id].gone {
			if missing++; missing <= 5 {
				t.Errorf("%s: %s was acknowledged before the copy began, and is not in it", what, id)
			}
		}
	}
	if missing > 0 {
		t.Errorf("%s: %d of %d messages are missing", what, missing, len(begun))
	}
}

func (l *ledger) checkOne(t *testing.T, what, folder string, m stored, begun mark, strict bool) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	before, wasThere := begun[m.id]
	now := l.messages[m.id]
	if !wasThere || now == nil || now.gone {
		return
	}
	if known := l.uids[place{folder, m.base}]; m.uid == 0 && (strict || known != 0 && now.moves == before.moves) {
		t.Errorf("%s: %s (%s) in %q has no UID", what, m.id, m.base, folder)
	}
	if !slices.Contains(now.states[before.confirmed:], m.flags) {
		t.Errorf("%s: %s in %q has the flags %q, and had only %q", what, m.id, folder, m.flags, now.states[before.confirmed:])
	}
}
