package maildir

import (
	"context"
	"errors"
	"strings"
	"time"

	"maildird/maildir/contain"
	"maildird/maildir/dirfd"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

const (
	// treeInterval is how often an account's folders are checked on behalf of OnTreeChange
	// if events do not report all changes: below the root in the layout "fs", or everywhere
	// without events.
	treeInterval = 2 * time.Second
	// treeSettles is how long creating a folder may take: the event reports the creation of
	// its directory, which is not a mailbox until it has a cur.
	treeSettles = time.Second
)

// treeWatch calls the functions passed to OnTreeChange when the account's folders or
// subscriptions may have changed. It is guarded by store.mu.
type treeWatch struct {
	listeners map[*func()]struct{}
	later     *time.Timer // calls them once more; nil before the first change
	ticking   chan struct{}
}

// OnTreeChange arranges for f to be called when folders or subscriptions of the account may
// have changed, whoever changed them. f is called from other goroutines and must neither
// block nor call stop. A call may still be in progress after stop has returned.
func (a *Account) OnTreeChange(f func()) (stop func()) {
	a.watching.Do(a.watchRoot)
	s, t := a.store, &a.treeWatch
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.listeners == nil {
		t.listeners = map[*func()]struct{}{}
	}
	t.listeners[&f] = struct{}{}
	if t.ticking == nil && (a.watch == nil || !a.flat) {
		t.ticking = make(chan struct{})
		go a.tick(t.ticking)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(t.listeners, &f)
		if len(t.listeners) > 0 {
			return
		}
		if t.ticking != nil {
			close(t.ticking)
			t.ticking = nil
		}
		if t.later != nil {
			t.later.Stop()
			t.later = nil
		}
	}
}

func (a *Account) tick(ended <-chan struct{}) {
	tick := time.NewTicker(treeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			a.tellTree()
		}
	}
}

// rootEvent handles an event of the account's root directory, which is also INBOX. Most
// events there are about locks.
func (a *Account) rootEvent(ev watch.Event) {
	if !a.flat || ev.Op == watch.Lost || strings.HasPrefix(ev.Name, ".") || ev.Name == "cur" || ev.Name == "new" {
		a.namesChanged()
	}
	if ev.Op == watch.Lost || !keptByServers(ev.Name) {
		a.treeChanged()
	}
}

// keptByServers reports whether a name in the root is that of a file that changes with the
// mail of INBOX, and is unrelated to folders.
func keptByServers(name string) bool {
	return strings.HasPrefix(name, "dovecot") || strings.HasPrefix(name, "maildird-") || strings.HasSuffix(name, ".lock") ||
		strings.HasPrefix(name, "maildirsize")
}

// treeChanged calls the functions passed to OnTreeChange, and calls them once more after
// what is happening now has settled.
func (a *Account) treeChanged() {
	a.store.mu.Lock()
	if t := &a.treeWatch; t.later != nil {
		t.later.Reset(treeSettles)
	} else if len(t.listeners) > 0 {
		t.later = time.AfterFunc(treeSettles, a.tellTree)
	}
	a.store.mu.Unlock()
	a.tellTree()
}

func (a *Account) tellTree() {
	a.store.mu.Lock()
	calls := make([]func(), 0, len(a.treeWatch.listeners))
	for f := range a.treeWatch.listeners {
		calls = append(calls, *f)
	}
	a.store.mu.Unlock()
	for _, call := range calls {
		contain.Run(a.store.env.Log, "panic at a change of the folders", call)
	}
}

// FolderID identifies a folder, whatever its name.
type FolderID struct {
	id       dirfd.ID
	validity uint32 // UIDVALIDITY; 0: it had none yet
}

// Same reports whether both identify the same folder, even though the inode number of a
// removed directory may be reused.
func (f FolderID) Same(other FolderID) bool {
	return f.id == other.id && f.id != dirfd.ID{} && (f.validity == other.validity || f.validity == 0 || other.validity == 0)
}

// Place returns the FolderID without its UIDVALIDITY: folders that are the same have the
// same place.
func (f FolderID) Place() FolderID { return FolderID{id: f.id} }

// FolderID returns the identity of the mailbox with this name, or folder.ErrNotFound.
func (a *Account) FolderID(name string) (FolderID, error) {
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return FolderID{}, err
	}
	id, err := dir.ID()
	f := FolderID{id, uidlist.ValidityOf(dir)}
	return f, errors.Join(err, dir.Close())
}

// Create creates a mailbox, like folder.Tree.Create.
func (a *Account) Create(ctx context.Context, name string, specialUse []string) error {
	err := a.tree.Create(ctx, name, specialUse)
	a.treeChanged()
	return err
}

// SetSubscribed subscribes to a name or unsubscribes from it, like
// folder.Tree.SetSubscribed.
func (a *Account) SetSubscribed(ctx context.Context, name string, on bool) error {
	err := a.tree.SetSubscribed(ctx, name, on)
	a.treeChanged()
	return err
}
