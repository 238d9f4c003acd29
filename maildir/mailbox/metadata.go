package mailbox

import (
	"context"

	"maildird/maildir/dotlock"
	"maildird/maildir/metadata"
)

// Metadata returns the annotations in a file of the mailbox's folder: metadata.Name, or in
// INBOX also the file with the account's annotations.
func (m *Mailbox) Metadata(file string) (*metadata.Set, error) { return metadata.Read(m.dir, file) }

// SetMetadata changes annotations, all or none, durable on return.
func (m *Mailbox) SetMetadata(ctx context.Context, file string, changes []metadata.Change) error {
	return m.change(ctx, func(*dotlock.Lock) error {
		set, err := metadata.Read(m.dir, file)
		if err != nil {
			return err
		}
		if err := set.Apply(changes); err != nil {
			return err
		}
		return metadata.Write(m.dir, file, set, m.env.Fsync)
	})
}

// CopyMetadata copies the annotations of this mailbox to another one.
func (m *Mailbox) CopyMetadata(ctx context.Context, to *Mailbox) error {
	set, err := m.Metadata(metadata.Name)
	if err != nil || len(set.Names()) == 0 {
		return err
	}
	var changes []metadata.Change
	for _, name := range set.Names() {
		value, _ := set.Get(name)
		changes = append(changes, metadata.Change{Name: name, Value: value})
	}
	return to.SetMetadata(ctx, metadata.Name, changes)
}
