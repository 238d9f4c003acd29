package folder

import (
	"errors"
	"io/fs"

	"maildird/maildir/uidlist"
)

// outliveValidity makes sure that a mailbox created later under the name of one that is now
// deleted gets a greater UIDVALIDITY (RFC 9051 section 2.3.1.1), by raising the counter to
// at least the deleted one's. Dovecot does not do this: it relies on the counter being
// ahead of all mailboxes, which is not so for one that was copied here or numbered by
// another program.
func (t *Tree) outliveValidity(at levels) error {
	d, err := t.layout.open(t.root, at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer d.Close()
	header, err := uidlist.ReadHeader(d)
	if err != nil {
		return err
	}
	deleted := header.UIDValidity
	if deleted == 0 || deleted == 1<<32-1 {
		return nil
	}
	return uidlist.RaiseValidity(t.root, deleted, t.opt.Fsync)
}
