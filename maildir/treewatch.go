package maildir

import (
	"context"
	"errors"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

const (
	// treeInterval is how often an account's folders are looked at for those
	// who asked by OnTreeChange, where events do not tell of all of them: below
	// the root in the layout "fs", or anywhere without events.
	treeInterval = 2 * time.Second
	// treeSettles is how long the making of a folder may take: the event comes
	// with its directory, which is no mailbox before it has a cur.
	treeSettles = time.Second
)

// treeWatch tells those who asked that the account's folders or subscriptions
// may have changed. Guarded by store.mu.
type treeWatch struct {
	listeners map[*func()]struct{}
	later     *time.Timer // calls them once more; nil before the first change
	ticking   chan struct{}
}

// OnTreeChange has f called when folders or subscriptions of the account may
// have changed, by whomever. f is called from other goroutines and must neither
// block nor call stop. After stop returned, a call may still be on its way.
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

// rootEvent takes an event of the account's root directory. Of what comes and
// goes there, which is INBOX too, most are locks.
func (a *Account) rootEvent(ev watch.Event) {
	if !a.flat || ev.Op == watch.Lost || strings.HasPrefix(ev.Name, ".") || ev.Name == "cur" || ev.Name == "new" {
		a.namesChanged()
	}
	if ev.Op == watch.Lost || !keptByServers(ev.Name) {
		a.treeChanged()
	}
}

// keptByServers tells whether a name in the root is that of a file that changes
// with the mail of INBOX, and says nothing of folders.
func keptByServers(name string) bool {
	return strings.HasPrefix(name, "dovecot") || strings.HasPrefix(name, "maildird-") || strings.HasSuffix(name, ".lock") ||
		strings.HasPrefix(name, "maildirsize")
}

// treeChanged calls those who asked, and once more when what happens now has
// settled.
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
		call()
	}
}

// FolderID tells one folder from another, whatever it is called.
type FolderID struct {
	id       dirfd.ID
	validity uint32 // 0: it had none yet
}

// Same tells whether both are of one folder: that a directory's number is given
// to another one when it is removed does not count.
func (f FolderID) Same(other FolderID) bool {
	return f.id == other.id && f.id != dirfd.ID{} && (f.validity == other.validity || f.validity == 0 || other.validity == 0)
}

// Place is where a folder is, without its UIDVALIDITY: those that are the same have
// the same place.
func (f FolderID) Place() FolderID { return FolderID{id: f.id} }

// FolderID returns the identity of the mailbox with this name;
// folder.ErrNotFound if there is none.
func (a *Account) FolderID(name string) (FolderID, error) {
	dir, err := a.tree.OpenDir(name)
	if err != nil {
		return FolderID{}, err
	}
	id, err := dir.ID()
	f := FolderID{id, uidlist.ValidityOf(dir)}
	return f, errors.Join(err, dir.Close())
}

// Create makes a mailbox, as folder.Tree.Create.
func (a *Account) Create(ctx context.Context, name string, specialUse []string) error {
	err := a.tree.Create(ctx, name, specialUse)
	a.treeChanged()
	return err
}

// SetSubscribed subscribes to a name or ends that, as folder.Tree.SetSubscribed.
func (a *Account) SetSubscribed(ctx context.Context, name string, on bool) error {
	err := a.tree.SetSubscribed(ctx, name, on)
	a.treeChanged()
	return err
}
