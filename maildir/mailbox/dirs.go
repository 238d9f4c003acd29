package mailbox

import (
	"errors"
	"io/fs"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox/table"
)

// entry is a file name in new/ or cur/.
type entry struct {
	where table.Place
	inode uint32 // as in Row.Inode; 0: unknown, as in all entries that are compared
	name  string
}

// sameName reports whether two entries have the same name in the same place.
func (e entry) sameName(other entry) bool { return e.where == other.where && e.name == other.name }

// mailDirs are the directories of a folder. Only its methods give a message's file a name or
// take one away. They note what is to be synced, so that sync makes durable all that was
// done, whichever operation it was: if only cur/ were synced after a flag change, the flag
// would be lost together with an earlier move from new/ to cur/.
//
// The methods that change something, and sync, require Mailbox.sync.
type mailDirs struct {
	delivery.Dirs
	fsync bool
	// unsynced tells, by place, where names were added or removed that are not durable yet.
	unsynced [2]bool
}

// in returns the handle of new/ or cur/.
func (d *mailDirs) in(where table.Place) *dirfd.Dir {
	if where == table.InNew {
		return d.New
	}
	return d.Cur
}

func (d *mailDirs) lstat(e entry) (dirfd.Stat, error) { return d.in(e.where).Lstat(e.name) }

// sameFile reports whether two different names refer to one file, as is the case after a
// crash or during a rename by link and unlink.
func (d *mailDirs) sameFile(a, b entry) bool {
	if a.sameName(b) {
		return false
	}
	one, err := d.lstat(a)
	if err != nil {
		return false
	}
	two, err := d.lstat(b)
	return err == nil && one.ID() == two.ID()
}

// isOdd reports whether a name belongs to something other than a regular file, which a scan
// leaves alone.
func (d *mailDirs) isOdd(e entry) bool {
	st, err := d.lstat(e)
	return err == nil && !st.Regular()
}

// move renames a file, without replacing another one: it returns fs.ErrExist then. If to is
// a name of the same file, because somebody is moving it by link and unlink or was
// interrupted, move removes from.
func (d *mailDirs) move(from, to entry) error {
	err := d.in(from.where).RenameNoReplace(from.name, d.in(to.where), to.name)
	if errors.Is(err, fs.ErrExist) && d.sameFile(from, to) {
		err = d.in(from.where).Remove(from.name)
	}
	d.note(err, from.where, to.where)
	return err
}

// link gives a file of src another name, without replacing another file. st describes the
// file. A link that fails may have been made all the same, as on a network file system after
// a timeout: then link succeeds.
func (d *mailDirs) link(src *mailDirs, from entry, st dirfd.Stat, to entry) error {
	err := src.in(from.where).Link(from.name, d.in(to.where), to.name)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		if made, merr := d.lstat(to); merr == nil && made.ID() == st.ID() {
			err = nil
		}
	}
	d.note(err, to.where)
	return err
}

// commit moves a finished temporary file to where, under its own base followed by info.
func (d *mailDirs) commit(temp *delivery.Temp, where table.Place, info string) (entry, error) {
	name, err := temp.Commit(d.in(where), info)
	d.note(err, where)
	return entry{where, temp.InodeSum(), name}, err
}

func (d *mailDirs) remove(e entry) error {
	err := d.in(e.where).Remove(e.name)
	d.note(err, e.where)
	return err
}

// note notes what a call that returned err did in these directories. Unless the error says
// that the call did nothing, it may have been done all the same.
func (d *mailDirs) note(err error, changed ...table.Place) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return
	}
	for _, where := range changed {
		d.unsynced[where] = true
	}
}

// sync makes all names durable. It syncs cur/ first, so that a new name is durable before
// the old one is gone.
func (d *mailDirs) sync() error {
	if !d.fsync {
		return nil
	}
	for _, where := range []table.Place{table.InCur, table.InNew} {
		if !d.unsynced[where] {
			continue
		}
		if err := d.in(where).Sync(); err != nil {
			return err
		}
		d.unsynced[where] = false
	}
	return nil
}
