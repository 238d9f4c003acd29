package folder

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
)

// unusable reports whether an error means that a file was not made by a mail program, or
// cannot be read by this process. A listing does without it.
func unusable(err error) bool {
	return errors.Is(err, dirfd.ErrNotRegular) || errors.Is(err, fs.ErrPermission) || errors.Is(err, dirfd.ErrTooLong) ||
		errors.Is(err, errSubscriptions)
}

// logTrouble logs that the subscriptions cannot be used, once until they can be used again.
func (t *Tree) logTrouble(err error) {
	switch {
	case err == nil:
		t.troubled.Store(false)
	case !t.troubled.Swap(true) && t.log != nil:
		t.log.Warn("subscriptions cannot be read, listing mailboxes without them", "error", err)
	}
}

// List returns all mailboxes: INBOX first, the others sorted by name. A subscriptions file
// that cannot be used (a symbolic link, not readable, too long, of unknown format) counts
// as empty here; the error is logged, and Subscriptions returns it.
func (t *Tree) List() ([]Entry, error) {
	t.changing.RLock()
	defer t.changing.RUnlock()
	found := map[string]Entry{"INBOX": {Name: "INBOX"}}
	places := map[string]levels{"INBOX": nil}
	err := t.layout.scan(t.root, func(at levels, selectable bool) error {
		text := t.show(at)
		if len(text) == 0 {
			return nil // hidden by INBOX
		}
		name := t.join(text)
		if _, twice := found[name]; twice && !slices.Equal(at, encode(text)) {
			return nil
		}
		found[name] = Entry{Name: name, NoSelect: !selectable}
		places[name] = at
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.addLevels(found)
	subscribed, err := t.Subscriptions()
	if err != nil && !unusable(err) {
		return nil, err
	}
	t.logTrouble(err)
	for _, name := range subscribed {
		if e, ok := found[name]; ok {
			e.Subscribed = true
			found[name] = e
		}
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if a.Name == "INBOX" || b.Name == "INBOX" {
			return cmp.Compare(rank(a), rank(b))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return entries, t.markSpecialUse(entries, places)
}

func rank(e Entry) int {
	if e.Name == "INBOX" {
		return 0
	}
	return 1
}

// addLevels adds the levels that are only implied by names below them, and sets
// HasChildren.
func (t *Tree) addLevels(found map[string]Entry) {
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	for _, name := range names {
		for {
			end := strings.LastIndexByte(name, t.opt.Separator)
			if end <= 0 {
				break
			}
			name = name[:end]
			above, known := found[name]
			if known && above.HasChildren {
				break
			}
			if !known {
				above = Entry{Name: name, NoSelect: true, NonExistent: true}
			}
			above.HasChildren = true
			found[name] = above
		}
	}
}
