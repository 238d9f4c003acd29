package history

import (
	"errors"
	"fmt"
	"os"
)

// Next returns the mod-sequence of the next change.
func (f *File) Next() uint64 { return max(f.h.highest+1, fromClock(f.opt.Now())) }

// Add records a change and appends it to the file; Sync makes it durable. The change has
// the mod-sequence returned by Next, or by Highest if it consists only of save dates. UIDs
// ascend in all lists. This process takes the change into account whatever the error; if
// the file could not be appended to, Rewrite replaces it.
func (f *File) Add(c Frame) error {
	f.note(&c)
	if f.rewrite {
		return nil
	}
	b := appendSplit(nil, f.last, c)
	err := f.append(b)
	if errors.Is(err, errNoLock) {
		f.begun = false // read all of it again
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
		// A partial write would count as damage.
		err = errors.Join(err, file.Truncate(f.size))
	} else {
		f.unsynced = true
	}
	if st, statErr := file.Stat(); statErr == nil {
		f.mtime = st.ModTime()
	}
	return err
}

// Sync makes everything that was written or read so far durable, if so configured. It must
// be called before a client is told a mod-sequence; until then, nothing has to be durable.
// It does not need the lock.
func (f *File) Sync() error { return f.SyncWith(f.dir.Sync) }

// SyncWith is Sync for a caller that has to make names in the folder durable itself:
// instead of syncing the folder, it calls the function folder, in another goroutine and at
// most once.
func (f *File) SyncWith(folder func() error) error {
	f.clientsTold = true
	if !f.opt.Fsync || f.inode == 0 || !f.unsynced && !f.renamed {
		return nil
	}
	file, err := f.dir.Open(Name)
	if err == nil {
		err = f.sync(file, folder)
		_ = file.Close()
	}
	if err != nil {
		// A second sync would report success: the system forgets what it could not write.
		f.rewrite = true
		return f.fail(err)
	}
	return nil
}

// sync makes the content and, at the same time, the name durable: one without the other
// counts as lost, see the package comment.
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

// fail records why the journal cannot be written.
func (f *File) fail(err error) error {
	f.failed, f.retry = err, f.opt.Now().Add(retryAfter)
	return err
}
