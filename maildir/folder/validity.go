package folder

import (
	"errors"
	"io/fs"
	"slices"

	"maildird/maildir/uidlist"
)

// outliveValidity makes sure that a mailbox created later under the name of one of these,
// which lose their names now, gets a greater UIDVALIDITY (RFC 9051 section 2.3.1.1), by
// raising the counter to at least theirs. Dovecot does not do this: it relies on the counter
// being ahead of all mailboxes, which is not so for one that was copied here or numbered by
// another program.
func (t *Tree) outliveValidity(places ...levels) error {
	var highest uint32
	for _, at := range places {
		validity, err := t.validityAt(at)
		if err != nil {
			return err
		}
		highest = max(highest, validity)
	}
	if highest == 0 || highest == 1<<32-1 {
		return nil
	}
	return uidlist.RaiseValidity(t.root, highest, t.opt.Fsync)
}

// validityAt returns the UIDVALIDITY of the mailbox at a place, 0 if there is none.
func (t *Tree) validityAt(at levels) (uint32, error) {
	d, err := t.layout.open(t.root, at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		return 0, err
	}
	defer d.Close()
	header, err := uidlist.ReadHeader(d)
	return header.UIDValidity, err
}

// withBelow returns a place and those below it.
func (t *Tree) withBelow(at levels) ([]levels, error) {
	places := []levels{at}
	err := t.layout.scan(t.root, func(other levels, _ bool) error {
		if len(other) > len(at) && slices.Equal(other[:len(at)], at) {
			places = append(places, other)
		}
		return nil
	})
	return places, err
}
