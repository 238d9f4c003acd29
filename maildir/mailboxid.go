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

// RFC 8474 section 4.1 wants IDs of mailboxes that are unique within an account, and
// they are made of what lies in the folder: who copies its directory (cp -a) copies the
// ID. Dovecot looks for that when it synchronizes two servers, and gives one of both
// another GUID (dsync_mailbox_tree_fix_guid_duplicate). Here a folder gets another one
// when it is opened first, if its maildird-history says that it is a copy and there is a
// folder with the same ID. Where the history does not tell, the first that a client is
// told of keeps the ID, and another one gets a new one when a client asks for its ID.
// UIDVALIDITY stays, as there: nothing is downloaded again.

// mailboxIDs are the IDs that clients were told, and of which folders.
type mailboxIDs struct {
	mu   sync.Mutex
	told map[string]toldID
}

// mostTold bounds what is remembered of an account whose client makes and removes
// mailboxes all day.
const mostTold = 10_000

type toldID struct {
	folder dirfd.ID
	name   string // that led to it
}

// ID returns the ID of the mailbox, which no other mailbox of the account has that a
// client was told of since the account was opened (of the last ones, if they are very
// many); see mailbox.Mailbox.ID. Where nothing can be written a copy shares that of its
// original.
func (m *Mailbox) ID(ctx context.Context) (string, error) { return m.uniqueID(ctx, m.Mailbox.ID) }

// IDOf is ID for one who has just opened a view of the mailbox: nobody looks at the
// files again for it.
func (m *Mailbox) IDOf(ctx context.Context, v *mailbox.View) (string, error) {
	return m.uniqueID(ctx, v.MailboxID)
}

// uniqueID is ID, which get gives as this folder has it.
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

// partFromOriginal gives the folder another ID if it is a copy and its original is there.
func (b *openBox) partFromOriginal(ctx context.Context) {
	if !b.box.IsCopy() {
		return
	}
	id, err := b.box.ID(ctx)
	if err != nil {
		return // ID tells who asks
	}
	if other, found := b.a.original(toldID{b.id, b.name}, id); found {
		_ = b.a.renewID(ctx, b.box, id, other.name)
	}
}

// folderIDs are the folders that have an ID, as all of them were looked at when a folder
// was met that turned out to be a copy and was not there the last time: a Maildir that was
// put back has copies only.
type folderIDs struct {
	mu    sync.Mutex
	by    map[string][]toldID
	known map[dirfd.ID]struct{}
}

// original finds another folder than the copy that has its ID.
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

// readIDs looks at all folders, as far as they can be opened. f.mu is held.
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

// claim notes that an ID is that of a folder, unless another one has it, which did not
// lose it.
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

// hasID tells whether a folder is where it was, with this ID.
func (a *Account) hasID(f toldID, id string) bool {
	dir, err := a.tree.OpenDir(f.name)
	if err != nil {
		return !errors.Is(err, folder.ErrNotFound)
	}
	defer dir.Close()
	now, err := dir.ID()
	return err != nil || now == f.folder && mailbox.IDOf(uidlist.HeaderOf(dir)) == id
}
