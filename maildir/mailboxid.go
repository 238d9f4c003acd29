package maildir

import (
	"context"
	"errors"
	"sync"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/uidlist"
)

// RFC 8474 section 4 requires IDs of mailboxes to be unique within an account. They are
// derived from data in the folder, so copying its directory (cp -a) copies the ID. Dovecot
// checks for that when it synchronises two servers, and assigns a new GUID to one of both
// mailboxes (dsync_mailbox_tree_fix_guid_duplicate). maildird assigns a new ID when a
// folder is first opened, if its maildird-history says that it is a copy and there is a
// folder with the same ID. If the history does not tell, the first mailbox whose ID a
// client is told keeps it, and any other gets a new one when a client asks for its ID.
// UIDVALIDITY is unchanged, as in Dovecot, so that nothing is downloaded again.

// mailboxIDs are the IDs that clients were told, and the folders that have them.
type mailboxIDs struct {
	mu   sync.Mutex
	told map[string]toldID
}

// mostTold limits how many IDs are remembered for an account whose client keeps creating
// and removing mailboxes.
const mostTold = 10_000

type toldID struct {
	folder dirfd.ID
	name   string // that led to it
}

// ID returns the ID of the mailbox. No other mailbox of the account has it whose ID a
// client was told since the account was opened (if these are very many, among the last
// ones); see mailbox.Mailbox.ID. If nothing can be written, a copy has the same ID as its
// original.
func (m *Mailbox) ID(ctx context.Context) (string, error) { return m.uniqueID(ctx, m.Mailbox.ID) }

// IDOf is ID for a caller that has just opened a view of the mailbox: it does not look at
// the files again.
func (m *Mailbox) IDOf(ctx context.Context, v *mailbox.View) (string, error) {
	return m.uniqueID(ctx, v.MailboxID)
}

// uniqueID implements ID. get returns the ID that is stored in this folder.
func (m *Mailbox) uniqueID(ctx context.Context, get func(context.Context) (string, error)) (string, error) {
	a, own := m.b.a, toldID{m.b.id, m.b.name}
	for renewed := false; ; renewed = true {
		id, err := get(ctx)
		if err != nil {
			return "", err
		}
		other, taken := a.ids.claim(id, own, toldID{})
		if taken && !a.hasID(other, id) {
			other, taken = a.ids.claim(id, own, other)
		}
		if !taken || renewed {
			return id, nil
		}
		if err := a.renewID(ctx, m.Mailbox, id, other.name); err != nil {
			return id, ctx.Err()
		}
	}
}

// partFromOriginal assigns a new ID to the folder if it is a copy and its original exists.
func (b *openBox) partFromOriginal(ctx context.Context) {
	if !b.box.IsCopy() {
		return
	}
	id, err := b.box.ID(ctx)
	if err != nil {
		return // ID reports the error to its caller
	}
	if other, found := b.a.original(toldID{b.id, b.name}, id); found {
		_ = b.a.renewID(ctx, b.box, id, other.name)
	}
}

// folderIDs are the folders that have an ID. They are all read when a folder turns out to
// be a copy and was not among them the last time: in a Maildir that was restored, all
// folders are copies.
type folderIDs struct {
	mu    sync.Mutex
	by    map[string][]toldID
	known map[dirfd.ID]struct{}
}

// original returns another folder that has the same ID as the copy.
func (a *Account) original(copied toldID, id string) (other toldID, found bool) {
	f := &a.folderIDs
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.known[copied.folder]; !known {
		a.readIDs(f)
	}
	for _, other := range f.by[id] {
		if other.folder != copied.folder && a.hasID(other, id) {
			return other, true
		}
	}
	return toldID{}, false
}

// readIDs reads all folders that can be opened. f.mu is held.
func (a *Account) readIDs(f *folderIDs) {
	f.by, f.known = map[string][]toldID{}, map[dirfd.ID]struct{}{}
	entries, err := a.tree.List()
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.NoSelect {
			continue
		}
		dir, err := a.tree.OpenDir(e.Name)
		if err != nil {
			continue
		}
		if folder, err := dir.ID(); err == nil {
			id := mailbox.IDOf(uidlist.HeaderOf(dir))
			f.by[id] = append(f.by[id], toldID{folder, e.Name})
			f.known[folder] = struct{}{}
		}
		_ = dir.Close()
	}
}

func (a *Account) renewID(ctx context.Context, m *mailbox.Mailbox, id, other string) error {
	log := a.store.env.Log.With("mailbox", m.Path(), "other", other)
	log.Warn("a mailbox is a copy of another, with the same ID: giving it an ID of its own")
	err := m.RenewID(ctx, id)
	if err != nil {
		log.Warn("two mailboxes have the same ID", "error", err)
	}
	return err
}

// claim records that an ID belongs to a folder, unless another folder has it, other than
// lost, which no longer has it.
func (ids *mailboxIDs) claim(id string, own, lost toldID) (other toldID, taken bool) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if have, ok := ids.told[id]; ok && have.folder != own.folder && have != lost {
		return have, true
	}
	if ids.told == nil || len(ids.told) >= mostTold {
		ids.told = map[string]toldID{}
	}
	ids.told[id] = own
	return toldID{}, false
}

// hasID reports whether a folder is still in its place and has this ID.
func (a *Account) hasID(f toldID, id string) bool {
	dir, err := a.tree.OpenDir(f.name)
	if err != nil {
		return !errors.Is(err, folder.ErrNotFound)
	}
	defer dir.Close()
	now, err := dir.ID()
	return err != nil || now == f.folder && mailbox.IDOf(uidlist.HeaderOf(dir)) == id
}
