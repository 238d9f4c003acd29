package maildir

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
)

// inbox holds the directories of an account's INBOX open between deliveries.
type inbox struct {
	mu   sync.Mutex
	dirs *inboxDirs // nil: none are open
}

// inboxDirs are the directories of INBOX, shared by all who deliver.
type inboxDirs struct {
	delivery.Dirs
	users int // who deliver, and the inbox itself; guarded by inbox.mu

	// seen is the change time of the folder when its names led to these
	// directories: as long as it stands, they do, for a name that comes or goes
	// changes it. Zero if that cannot be known.
	seen   time.Time
	shared bool // with other hosts, whose clocks are others
}

// settled is how far back a directory's change time has to lie for another
// change to be sure to give it another one: file systems take times from a
// clock that stands still for some milliseconds.
const settled = 100 * time.Millisecond

// Inbox gives the directories that a delivery writes to, which are shared and
// not to be closed. Release them when done.
func (a *Account) Inbox() (dirs delivery.Dirs, release func(), err error) {
	in := &a.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	d := in.dirs
	if d != nil {
		if fresh, err := d.current(); err != nil || !fresh {
			in.leave(d)
			d, in.dirs = nil, nil
		}
	}
	if d == nil {
		if d, err = a.openInbox(); err != nil {
			return delivery.Dirs{}, nil, err
		}
		in.dirs = d
	}
	d.users++
	return d.Dirs, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.leave(d)
	}, nil
}

// openInbox opens the directories, and makes those that are missing.
func (a *Account) openInbox() (*inboxDirs, error) {
	dir, err := a.tree.OpenDir("INBOX")
	if err != nil {
		return nil, err
	}
	dirs, err := delivery.OpenDirs(dir)
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	d := &inboxDirs{Dirs: dirs, users: 1, shared: dir.Shared()}
	// From before they were opened: it is not known yet that they are current.
	st, err := dir.Stat()
	if err != nil {
		dirs.Close()
		return nil, err
	}
	rights := st.Rights()
	d.Rights = &rights
	d.Room = func(size int64) error { return a.quota.Room(size, 1) }
	return d, nil
}

// current tells whether the folder's names still lead to these directories, and
// takes note of the folder's rights.
func (d *inboxDirs) current() (bool, error) {
	now := time.Now()
	st, err := d.Folder.Stat()
	if err != nil {
		return false, err
	}
	if !d.seen.IsZero() && st.Ctime.Equal(d.seen) {
		return true, nil
	}
	for _, sub := range []struct {
		name string
		dir  *dirfd.Dir
	}{{"tmp", d.Tmp}, {"new", d.New}, {"cur", d.Cur}} {
		there, err := d.Folder.Lstat(sub.name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		id, idErr := sub.dir.ID()
		if err = errors.Join(err, idErr); err != nil || there.ID() != id {
			return false, err
		}
	}
	rights := st.Rights()
	d.Rights, d.seen = &rights, time.Time{}
	if !d.shared && now.Sub(st.Ctime) > settled {
		d.seen = st.Ctime
	}
	return true, nil
}

// leave gives the directories back for one who had them. in.mu is held.
func (in *inbox) leave(d *inboxDirs) {
	if d.users--; d.users == 0 {
		d.Close()
	}
}

// drop closes the directories. Nobody delivers any more.
func (in *inbox) drop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dirs != nil {
		in.leave(in.dirs)
		in.dirs = nil
	}
}
