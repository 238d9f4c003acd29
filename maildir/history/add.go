package history

import (
	"errors"
	"fmt"
	"os"
)

// Next returns the mod-sequence of the next change.
func (f *File) Next() uint64 { return max(f.h.highest+1, fromClock(f.opt.Now())) }

// Add notes a change, which has the mod-sequence of Next (of Highest if it is of
// save dates only), and appends it to the file; Sync makes it durable. UIDs
// ascend in all lists. The change counts for this process whatever the error; a
// file that could not be appended to is made anew by Rewrite.
func (f *File) Add(c Frame) error {
	f.note(&c)
	if f.rewrite {
		return nil
	}
	b := appendSplit(nil, f.last, c)
	err := f.append(b)
	if errors.Is(err, errNoLock) {
		f.begun = false // read it again, all of it
		return f.fail(err)
	}
	if err != nil {
		f.rewrite = true
		return f.fail(err)
	}
	f.size += int64(len(b))
	f.last = c.ModSeq
	return nil
}

var errNoLock = errors.New("changed by somebody without the lock")

func (f *File) append(b []byte) error {
	file, err := f.dir.OpenAppend(Name)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if st.Size() != f.size {
		return fmt.Errorf("%s/%s: %w", f.dir.Path(), Name, errNoLock)
	}
	if _, err = file.Write(b); err != nil {
		// What is half written would count as damage.
		err = errors.Join(err, file.Truncate(f.size))
	} else {
		f.unsynced = true
	}
	if st, statErr := file.Stat(); statErr == nil {
		f.mtime = st.ModTime()
	}
	return err
}

// Sync makes all that was written or read so far durable, if so configured. It
// comes before a client is told of a mod-sequence; as long as none is, nothing
// need be. It does not need the lock.
func (f *File) Sync() error { return f.SyncWith(f.dir.Sync) }

// SyncWith is Sync for one who has names in the folder of his own to make
// durable: he is called for that, once at most, instead of the folder being
// synced, in another goroutine.
func (f *File) SyncWith(folder func() error) error {
	f.told = true
	if !f.opt.Fsync || f.inode == 0 || !f.unsynced && !f.renamed {
		return nil
	}
	file, err := f.dir.Open(Name)
	if err == nil {
		err = f.sync(file, folder)
		_ = file.Close()
	}
	if err != nil {
		// Another sync would say that all is well: the system forgets what it
		// could not write.
		f.rewrite = true
		return f.fail(err)
	}
	return nil
}

// sync makes the content and, at the same time, the name durable: one without the
// other counts as lost, see the package comment.
func (f *File) sync(file *os.File, folder func() error) error {
	named := make(chan error, 1)
	if f.renamed {
		go func() { named <- folder() }()
	} else {
		named <- nil
	}
	err := f.opt.DataSync(file)
	if err = errors.Join(err, <-named); err != nil {
		return err
	}
	f.unsynced, f.renamed = false, false
	return nil
}

// fail notes why the journal cannot be written.
func (f *File) fail(err error) error {
	f.failed, f.retry = err, f.opt.Now().Add(retryAfter)
	return err
}
