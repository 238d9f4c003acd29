package maildir

import (
	"context"
	"strings"

	"maildird/maildir/metadata"
)

// MetadataChange says which annotations of a mailbox or, if Mailbox is "", of the account,
// were changed or removed.
type MetadataChange struct {
	By      any // who changed them, as passed to SetMetadata
	Mailbox string
	Entries []string
}

// Metadata returns the annotations of a mailbox or, if name is "", those of the account. It
// returns folder.ErrNotFound if there is no such mailbox.
func (a *Account) Metadata(ctx context.Context, name string) (*metadata.Set, error) {
	name, file := metadataFile(name)
	box, err := a.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer box.Release()
	set, err := box.Metadata(file)
	if err != nil || file != metadata.Name {
		return set, err
	}
	uses, err := a.tree.SpecialUse(name)
	set.Show(specialUseEntry, strings.Join(uses, " "), len(uses) > 0)
	return set, err
}

// specialUseEntry represents the attributes of the mailbox (RFC 6154 section 4).
const specialUseEntry = "/private/specialuse"

// setSpecialUse makes the change that concerns the mailbox's attributes, unless the other
// changes cannot be made, and returns the others.
func (a *Account) setSpecialUse(ctx context.Context, box *Mailbox, name string, changes []metadata.Change) (others []metadata.Change, err error) {
	var uses []string
	asked := false
	for _, c := range changes {
		if !strings.EqualFold(c.Name, specialUseEntry) {
			others = append(others, c)
			continue
		}
		asked, uses = true, nil
		if !c.Remove {
			uses = strings.Fields(c.Value)
		}
	}
	if !asked {
		return changes, nil
	}
	set, err := box.Metadata(metadata.Name)
	if err == nil {
		err = set.Apply(others)
	}
	if err == nil {
		err = a.tree.SetSpecialUse(ctx, name, uses)
	}
	a.treeChanged()
	return others, err
}

// SetMetadata changes the annotations of a mailbox or, if name is "", of the account: all
// or none, durable on return. A change of a mailbox's annotations gets a mod-sequence (RFC
// 7162 section 3.2).
func (a *Account) SetMetadata(ctx context.Context, by any, name string, changes []metadata.Change) error {
	in, file := metadataFile(name)
	box, err := a.Open(ctx, in)
	if err != nil {
		return err
	}
	defer box.Release()
	stored := changes
	if file == metadata.Name {
		if stored, err = a.setSpecialUse(ctx, box, name, changes); err != nil {
			return err
		}
	}
	if err := box.SetMetadata(ctx, file, stored); err != nil {
		return err
	}
	if file == metadata.Name {
		if err := box.RaiseModSeq(ctx); err != nil { // the annotations have been changed all the same
			a.store.env.Log.Warn("changed annotations have no mod-sequence", "mailbox", box.Path(), "error", err)
		}
		name, _ = a.tree.Canonical(name) // valid, since the mailbox was opened by that name
	}
	c := MetadataChange{By: by, Mailbox: name}
	for _, one := range changes {
		c.Entries = append(c.Entries, one.Name)
	}
	a.store.mu.Lock()
	calls := make([]func(MetadataChange), 0, len(a.onMetadata))
	for f := range a.onMetadata {
		calls = append(calls, *f)
	}
	a.store.mu.Unlock()
	for _, call := range calls {
		call(c)
	}
	return nil
}

// metadataFile returns where annotations are stored: those of the account are in INBOX,
// which is the Maildir's root.
func metadataFile(name string) (mailbox, file string) {
	if name == "" {
		return "INBOX", metadata.AccountName
	}
	return name, metadata.Name
}

// OnMetadata arranges for f to be called after SetMetadata changed annotations. f must
// neither block nor call stop. A call may still be in progress after stop has returned.
func (a *Account) OnMetadata(f func(MetadataChange)) (stop func()) {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	if a.onMetadata == nil {
		a.onMetadata = map[*func(MetadataChange)]struct{}{}
	}
	a.onMetadata[&f] = struct{}{}
	return func() {
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		delete(a.onMetadata, &f)
	}
}
