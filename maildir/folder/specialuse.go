package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// specialUseFile is a text file in the Maildir's root with the special-use attributes that
// clients gave to mailboxes (RFC 6154). It is kept there so that it is included in backups.
// Each line is an attribute, a blank, and a name as on disk with '/' between levels:
//
//	\Sent Gesendete Objekte
//
// Lines that do not start with a backslash are kept and ignored. A mailbox keeps its
// attributes when it is renamed and loses them when it is deleted. A line whose mailbox
// does not exist is ignored.
const specialUseFile = "maildird-specialuse"

// specialUses are the attributes that a client may set: those of RFC 6154 section 2 and RFC
// 8457, except \All and \Flagged, which stand for views of other mailboxes.
var specialUses = []string{`\Archive`, `\Drafts`, `\Important`, `\Junk`, `\Sent`, `\Trash`}

// usesByFile maps names, as in the file, to attributes.
type usesByFile map[string][]string

func parseSpecialUse(data []byte) usesByFile {
	uses := usesByFile{}
	for line := range strings.Lines(string(data)) {
		if use, place, ok := cutUse(withoutEnd(line)); ok && !slices.Contains(uses[place], use) {
			uses[place] = append(uses[place], use)
		}
	}
	return uses
}

// withoutEnd removes the line end, including CRs that an editor added: no name ends with one.
func withoutEnd(line string) string { return strings.TrimRight(line, "\r\n") }

func cutUse(line string) (use, place string, ok bool) {
	use, place, ok = strings.Cut(line, " ")
	if !ok || place == "" {
		return "", "", false
	}
	use, ok = knownUse(use)
	return use, place, ok
}

// knownUse returns the usual spelling of an attribute; case is ignored.
func knownUse(use string) (string, bool) {
	i := slices.IndexFunc(specialUses, func(known string) bool { return strings.EqualFold(known, use) })
	if i < 0 {
		return "", false
	}
	return specialUses[i], true
}

func (at levels) key() string { return strings.Join(at, "/") }

// fileUses reads the file. If it is not a regular file (but a symbolic link or a
// directory), it counts as missing.
func (t *Tree) fileUses() (usesByFile, error) {
	data, err := t.root.ReadFile(specialUseFile, maxTreeFile)
	if err != nil && !unusable(err) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseSpecialUse(data), nil
}

// checkUses returns the attributes in their usual spelling, or ErrSpecialUse.
func checkUses(uses []string) ([]string, error) {
	var known []string
	for _, use := range uses {
		name, ok := knownUse(use)
		if !ok {
			return nil, fmt.Errorf("%w: %.40q; it must be one of %s", ErrSpecialUse, use, strings.Join(specialUses, " "))
		}
		known = append(known, name)
	}
	slices.Sort(known)
	return slices.Compact(known), nil
}

// editUses rewrites the file line by line, then appends lines. edit gets the name on each
// line and returns the new one, "" to remove the line. If ctx ends, the wait for the file's
// lock ends.
func (t *Tree) editUses(ctx context.Context, edit func(place string) string, add []string) error {
	if len(add) == 0 {
		if _, err := t.root.Lstat(specialUseFile); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return t.rewrite(ctx, specialUseFile, func(old []byte) ([]byte, error) {
		lines := []string{}
		changed := len(add) > 0
		for line := range strings.Lines(string(old)) {
			line = withoutEnd(line)
			use, place, ok := cutUse(line)
			if ok {
				switch moved := edit(place); moved {
				case place:
				case "":
					changed = true
					continue
				default:
					changed = true
					line = use + " " + moved
				}
			}
			lines = append(lines, line)
		}
		if !changed {
			return nil, nil
		}
		lines = append(lines, add...)
		if len(lines) == 0 {
			return []byte{}, nil
		}
		return []byte(strings.Join(lines, "\n") + "\n"), nil
	})
}

// setUses replaces the attributes of a mailbox by these, which must be known ones.
func (t *Tree) setUses(ctx context.Context, at levels, uses []string) error {
	var add []string
	for _, use := range uses {
		add = append(add, use+" "+at.key())
	}
	return t.editUses(ctx, dropPlaces(map[string]bool{at.key(): true}), add)
}

// keepingUses calls rename, which gives new names to a mailbox and those below it, and
// keeps their attributes. During the rename they have them under both names, since lines of
// missing mailboxes are ignored; if the file cannot be written, nothing is renamed. After
// that, the end of ctx has no effect.
func (t *Tree) keepingUses(ctx context.Context, from, to levels, rename func() error) error {
	uses, err := t.fileUses()
	if err != nil {
		return err
	}
	move := movePlace(from.key(), to.key())
	old, moved := map[string]bool{}, map[string]bool{}
	var add []string
	for place, names := range uses {
		if p := move(place); p != place {
			old[place], moved[p] = true, true
			for _, use := range names {
				add = append(add, use+" "+p)
			}
		}
	}
	if len(add) == 0 {
		return rename()
	}
	slices.Sort(add)
	if err := t.editUses(ctx, dropPlaces(moved), add); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := rename(); err != nil {
		return errors.Join(err, t.editUses(ctx, dropPlaces(moved), nil))
	}
	_ = t.editUses(ctx, dropPlaces(old), nil) // leftovers are dropped when a mailbox with that name is created
	return nil
}

func dropPlaces(gone map[string]bool) func(string) string {
	return func(place string) string {
		if gone[place] {
			return ""
		}
		return place
	}
}

// movePlace returns a function that renames a mailbox and those below it.
func movePlace(from, to string) func(string) string {
	return func(place string) string {
		if rest, ok := strings.CutPrefix(place, from); ok && (rest == "" || rest[0] == '/') {
			return to + rest
		}
		return place
	}
}

// markSpecialUse sets the attributes of a listing: those in the file, and the configured
// ones that the file does not give to any of the mailboxes.
func (t *Tree) markSpecialUse(entries []Entry, places map[string]levels) error {
	byFile, err := t.fileUses()
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if e.NoSelect || e.Name == "INBOX" {
			continue
		}
		e.SpecialUse = slices.Clone(byFile[places[e.Name].key()])
		slices.Sort(e.SpecialUse)
		for _, use := range e.SpecialUse {
			taken[use] = true
		}
	}
	if len(t.opt.SpecialUse) == 0 {
		return nil
	}
	byName := make(map[string]string, len(t.opt.SpecialUse))
	for name, use := range t.opt.SpecialUse {
		byName[t.join(strings.Split(name, "/"))] = use
	}
	for i := range entries {
		e := &entries[i]
		if use := byName[e.Name]; use != "" && !e.NoSelect && !taken[use] {
			e.SpecialUse = append(e.SpecialUse, use)
			slices.Sort(e.SpecialUse)
		}
	}
	return nil
}

// SpecialUse returns the attributes of a mailbox as List does, sorted, or ErrNotFound.
func (t *Tree) SpecialUse(name string) ([]string, error) {
	at, d, err := t.locate(name)
	if err != nil {
		return nil, err
	}
	_ = d.Close()
	if len(at) == 0 {
		return nil, nil // INBOX has none
	}
	name, err = t.Canonical(name)
	if err != nil {
		return nil, err
	}
	if t.useByName(name) == "" {
		byFile, err := t.fileUses()
		uses := slices.Clone(byFile[at.key()])
		slices.Sort(uses)
		return uses, err
	}
	// Only a listing shows whether another mailbox has the attribute.
	entries, err := t.List()
	for _, e := range entries {
		if e.Name == name {
			return e.SpecialUse, err
		}
	}
	return nil, err
}

// useByName returns the attribute that the configuration gives to a name, "" for none.
func (t *Tree) useByName(name string) string {
	for configured, use := range t.opt.SpecialUse {
		if t.join(strings.Split(configured, "/")) == name {
			return use
		}
	}
	return ""
}

// SetSpecialUse replaces the attributes of a mailbox by these. It returns ErrNotFound, or
// ErrSpecialUse for an unknown attribute, for INBOX, and if the mailbox would keep a
// different one because of its name.
func (t *Tree) SetSpecialUse(ctx context.Context, name string, uses []string) error {
	uses, err := checkUses(uses)
	if err != nil {
		return err
	}
	var at levels
	var had []string
	err = t.withLock(ctx, func() error {
		place, d, err := t.locate(name)
		if err != nil {
			return err
		}
		_ = d.Close()
		if len(place) == 0 {
			return fmt.Errorf("%w: INBOX cannot have one", ErrSpecialUse)
		}
		byFile, err := t.fileUses()
		if err != nil {
			return err
		}
		at, had = place, byFile[place.key()]
		return t.setUses(ctx, at, uses)
	})
	if err != nil {
		return err
	}
	has, err := t.SpecialUse(name)
	if err != nil || !slices.ContainsFunc(has, func(use string) bool { return !slices.Contains(uses, use) }) {
		return err
	}
	err = fmt.Errorf("%w: %q is %s by its name", ErrSpecialUse, name, strings.Join(has, " "))
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, t.withLock(ctx, func() error { return t.setUses(ctx, at, had) }))
}
