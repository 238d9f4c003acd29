package maildir

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
)

// inbox keeps the directories of an account's INBOX open between deliveries.
type inbox struct {
	mu   sync.Mutex
	dirs *inboxDirs // nil: none are open
}

// inboxDirs are the directories of INBOX, shared by all deliveries.
type inboxDirs struct {
	delivery.Dirs
	users int // deliveries, and the inbox itself; guarded by inbox.mu

	// seen is the change time of the folder when its names led to these directories. As
	// long as that time is unchanged, they still do, since adding or removing a name
	// changes it. It is zero if that cannot be known.
	seen   time.Time
	shared bool // with other hosts, whose clocks may differ
}

// settled is how long ago a directory's change time has to be for another change to be
// certain to change it: file systems take times from a clock that advances only every few
// milliseconds.
const settled = 100 * time.Millisecond

// Inbox returns the directories to which a delivery writes. They are shared and must not be
// closed; the caller calls release when done.
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

// openInbox opens the directories, and creates those that are missing.
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
	// seen is not set yet: it is not known that these are current.
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

// current reports whether the folder's names still lead to these directories, and records
// the folder's rights.
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

// leave releases the directories for one user. in.mu is held.
func (in *inbox) leave(d *inboxDirs) {
	if d.users--; d.users == 0 {
		d.Close()
	}
}

// drop closes the directories. No deliveries are left.
func (in *inbox) drop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dirs != nil {
		in.leave(in.dirs)
		in.dirs = nil
	}
}
