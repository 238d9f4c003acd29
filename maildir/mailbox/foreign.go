package mailbox

import (
	"fmt"

	"maildird/maildir/dirfd"
)

// ownFile returns an error for a file with several names that does not belong to the
// mailbox's owner: dirfd refuses to open such a file, and it is not copied either.
func (m *Mailbox) ownFile(e entry, st dirfd.Stat) error {
	if st.Nlink <= 1 {
		return nil
	}
	owns, err := m.dirs.in(e.where).Owns(st.UID)
	if err != nil {
		return err
	}
	if !owns {
		return fmt.Errorf("%s in %s: %w", e.name, m.Path(), dirfd.ErrForeignLink)
	}
	return nil
}
