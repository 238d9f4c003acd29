package history

import (
	"errors"
	"fmt"

	"maildird/maildir/dirfd"
)

// Next returns the mod-sequence of the next change.
func (f *File) Next() uint64 {
	if f.EndLost() {
		return f.floor()
	}
	return max(f.h.highest+step, fromClock(f.opt.Now()))
}

// Add records a change and appends it to the file. The change has the mod-sequence returned
// by Next, or by Highest if it consists only of save dates. UIDs ascend in all lists. This
// process takes the change into account whatever the error; if the file could not be
// appended to, Rewrite replaces it.
func (f *File) Add(c Frame) error {
	if f.lost != 0 && c.ModSeq > f.h.highest {
		c.gaps, c.run = []gap{{f.lost, c.ModSeq - 1}}, f.run
		f.lost = 0
	}
	f.note(&c)
	if f.rewrite {
		if f.failed != nil {
			f.markEnd()
		}
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
		f.markEnd()
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
	_, err = file.Write(b)
	if st, statErr := file.Stat(); statErr == nil {
		f.mtime = st.ModTime()
	}
	return err
}

// markEnd gives the file a damaged end, because what follows is only in the memory of this
// process, and clients may be told of it: whoever reads the file takes its end for lost. A
// hole takes no room on a full disk.
func (f *File) markEnd() {
	if f.marked || f.inode == 0 {
		return
	}
	file, err := f.dir.OpenAppend(Name)
	if err != nil {
		return // tried again with the next change
	}
	defer file.Close()
	st, err := dirfd.FileStat(file)
	if err != nil || st.Ino != f.inode || file.Truncate(f.size+1) != nil {
		return
	}
	f.size, f.marked = f.size+1, true
	if st, err = dirfd.FileStat(file); err == nil {
		f.mtime = st.Mtime
	}
}

// Sync makes everything that was written or read so far durable, if so configured. It does
// not need the lock. Mod-sequences do not require it, see the package comment.
func (f *File) Sync() error {
	if !f.opt.Fsync || f.inode == 0 {
		return nil
	}
	file, err := f.dir.Open(Name)
	if err == nil {
		err = f.opt.DataSync(file)
		_ = file.Close()
	}
	if err == nil {
		err = f.dir.Sync()
	}
	if err != nil {
		// A second sync would report success: the system forgets what it could not write.
		f.rewrite = true
		return f.fail(err)
	}
	return nil
}

// fail records why the journal cannot be written.
func (f *File) fail(err error) error {
	f.failed, f.retry = err, f.opt.Now().Add(retryAfter)
	return err
}
