package history

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sort"
	"sync"
	"time"

	"maildird/maildir/dirfd"
)

const (
	// Name is what the journal is called in its folder.
	Name     = "maildird-history"
	tempName = Name + ".tmp"

	// maxGone bounds how many runs of removed UIDs are remembered: half a
	// megabyte.
	maxGone = 1 << 15
	// lead is how far after a loss the first mod-sequence is above the clock.
	lead = uint64(time.Second / time.Microsecond)
	// retryAfter is how long a journal that could not be written is left alone.
	retryAfter = 10 * time.Second
)

// Options of New.
type Options struct {
	Fsync bool // let Sync sync
	// DataSync makes a file's content durable, nil: as the system does. Tests set it.
	DataSync func(*os.File) error
	Log      *slog.Logger
	Now      func() time.Time
}

// Change is what Refresh found.
type Change uint8

// The findings of Refresh.
const (
	Unchanged Change = iota // nothing new
	Appended                // only what is new was given
	Replaced                // all was given, from the first frame on
	Missing                 // there is no journal that counts: call Begin
)

// File is the journal of one folder. All methods but Highest, Sync and the queries
// need dovecot-uidlist.lock. Not safe for concurrent use.
type File struct {
	dir  *dirfd.Dir
	opt  Options
	boot uint64 // this run of the machine

	begun   bool   // what follows holds
	inode   uint64 // of the file that was read or written
	size    int64
	mtime   time.Time // another file may get the inode, and have the size
	h       header
	last    uint64 // mod-sequence of the last frame in the file
	records int    // messages and runs in the file, but not save dates: each is added once
	gone    []gone // ascending by mod-sequence
	letters Names

	rewrite bool // the file cannot be appended to
	// unsynced says that something was written or read that may not be on disk
	// yet, renamed that the file's name may not be.
	unsynced, renamed bool
	// told says that clients may be told of what is read at any moment.
	told   bool
	failed error
	retry  time.Time // when writing may be tried again after failed

	copied bool // see Copied
	// void is the inode of the file of which the log has that it does not count:
	// a mailbox reads it before and after it takes the lock.
	void uint64
}

// gone is UIDs that were removed together, and when.
type gone struct {
	Run
	modseq uint64
}

// New returns the journal of the folder dir without reading it.
func New(dir *dirfd.Dir, opt Options) *File {
	f := &File{dir: dir, opt: opt}
	if opt.DataSync == nil {
		f.opt.DataSync = dirfd.DataSync
	}
	if !opt.Fsync {
		f.boot = RunOfMachine()
	}
	return f
}

// RunOfMachine identifies the time since the machine was started, never 0.
var RunOfMachine = sync.OnceValue(func() uint64 {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		id = []byte(time.Now().String()) // never the same: each process starts anew
	}
	sum := fnv.New64a()
	_, _ = sum.Write(id)
	return sum.Sum64() | 1
})

// Highest returns the highest mod-sequence, 0 before Begin or Refresh.
func (f *File) Highest() uint64 { return f.h.highest }

// Accounted returns the highest UID of which the journal tells what became of it.
func (f *File) Accounted() uint32 { return f.h.accounted }

// Letters returns what the keyword letters in the journal's flags stand for: what
// they stood for when the last frame was added that gave messages flags. known is
// false if it does not tell.
func (f *File) Letters() (names Names, known bool) { return f.letters, f.h.lettered }

// Copied tells whether Refresh found a journal that was made in another place: the
// folder is a copy of another one, or was put back from a backup.
func (f *File) Copied() bool { return f.copied }

// Err returns why the journal could not be written, nil if it is as it should be.
func (f *File) Err() error { return f.failed }

// Refresh reads what others wrote since the last call and gives it frame by
// frame, ascending by mod-sequence. A frame is valid during the call of give.
// A journal that belongs to another UIDVALIDITY, cannot be read, or does not
// count for one of the reasons in the package comment, is Missing; give may
// have been called before that was found out.
func (f *File) Refresh(validity uint32, give func(*Frame)) Change {
	begun := f.begun && f.h.validity == validity
	st, err := f.dir.Lstat(Name)
	if err == nil && begun && f.isAt(st) {
		return Unchanged
	}
	change := Replaced
	if err == nil && begun && st.Ino == f.inode && st.Size > f.size {
		change = Appended
	}
	if err == nil {
		change, err = f.open(st, validity, change, give)
	}
	switch {
	case err == nil:
		return change
	case !errors.Is(err, fs.ErrNotExist):
		f.copied = f.copied || errors.Is(err, errCopy)
		if st.Ino != 0 && st.Ino == f.void {
			break
		}
		f.void = st.Ino
		f.opt.Log.Warn("the mailbox's change history cannot be used and starts anew: returning clients will fetch all flags again",
			"mailbox", f.dir.Path(), "file", Name, "reason", err)
	case begun && f.inode == 0:
		return Unchanged // it could not be written so far
	}
	f.begun = false
	return Missing
}

// Stale tells whether another process wrote since the last Refresh.
func (f *File) Stale() bool {
	st, err := f.dir.Lstat(Name)
	if err != nil {
		return f.inode != 0
	}
	return !f.begun || !f.isAt(st)
}

// isAt tells whether the file is as it was read or written last.
func (f *File) isAt(st dirfd.Stat) bool {
	return st.Ino == f.inode && st.Size == f.size && st.Mtime.Equal(f.mtime)
}

func (f *File) open(st dirfd.Stat, validity uint32, change Change, give func(*Frame)) (Change, error) {
	file, err := f.dir.Open(Name)
	if err != nil {
		return change, err
	}
	defer file.Close()
	if change == Appended && !f.continues(file, st, f.h) {
		change = Replaced // twice, and the second file got the inode of the first
	}
	return change, f.read(file, st, validity, change, give)
}

// read takes over the file from where reading ended, or from its beginning.
func (f *File) read(file *os.File, st dirfd.Stat, validity uint32, change Change, give func(*Frame)) error {
	at := f.size
	if change == Replaced {
		if st.Size > maxFile {
			return fmt.Errorf("%w: it has %d bytes", errDamaged, st.Size)
		}
		h, err := f.readHeader(file, st, validity)
		if err != nil {
			return err
		}
		f.begun, f.h, f.inode = true, h, st.Ino
		f.last, f.records, f.gone, f.letters = 0, 0, nil, Names{}
		f.rewrite = f.unlike(h)
		f.renamed = true
		at = headerSize
	}
	f.unsynced = true // maybe its writer told nobody, and did not sync it
	if f.told && f.opt.Fsync {
		if err := f.sync(file, f.dir.Sync); err != nil {
			f.rewrite = true
			_ = f.fail(err)
		}
	}
	fr := frameReader{r: bufio.NewReaderSize(io.NewSectionReader(file, at, st.Size-at), 64<<10), before: f.last, lettered: f.h.lettered}
	for {
		frame, err := fr.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		f.note(frame)
		f.last = frame.ModSeq
		give(frame)
	}
	f.size, f.mtime = st.Size, st.Mtime
	return nil
}

var errCopy = errors.New("it is a copy, as after a restore")

func (f *File) readHeader(file *os.File, st dirfd.Stat, validity uint32) (h header, err error) {
	var b [headerSize]byte
	n, err := file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	if h, err = decodeHeader(b[:n]); err != nil {
		return h, err
	}
	switch {
	case h.inode != st.Ino || !sameBirth(h.birth, dirfd.Birth(file)):
		return h, errCopy
	case st.Ctime.Sub(st.Mtime) > dirfd.CoarseGrain:
		return h, errors.New("its modification time was put back, as by a restore over it, or its owner, rights or links were changed")
	case h.validity != validity:
		return h, errors.New("it is of another UIDVALIDITY")
	case h.boot != 0 && h.boot != f.boot && h.boot != RunOfMachine():
		return h, errors.New("it was not synced before the machine was restarted")
	}
	return h, nil
}

// unlike tells whether nothing can be appended to a file with this header.
func (f *File) unlike(h header) bool { return h.boot == 0 && f.boot != 0 || !h.lettered }

// sameBirth tells whether two times may be of the making of one file, as far as
// they are known (not 0). Some file systems keep them in memory more exactly than
// on disk.
func sameBirth(a, b int64) bool {
	return a == 0 || b == 0 || time.Duration(a-b).Abs() < dirfd.CoarseGrain
}

// note takes a frame into what is remembered.
func (f *File) note(frame *Frame) {
	f.h.highest = max(f.h.highest, frame.ModSeq)
	f.records += len(frame.Changed) + len(frame.Gone)
	if n := len(frame.Changed); n > 0 {
		f.h.accounted = max(f.h.accounted, frame.Changed[n-1].UID)
	}
	if n := len(frame.Gone); n > 0 {
		f.h.accounted = max(f.h.accounted, frame.Gone[n-1].Last)
	}
	for _, l := range frame.Letters {
		f.letters[l.Index] = l.Name
	}
	for _, r := range frame.Gone {
		f.gone = append(f.gone, gone{r, frame.ModSeq})
	}
	if n := len(f.gone) - maxGone; n > 0 {
		n += maxGone / 4
		f.h.since = max(f.h.since, f.gone[n-1].modseq)
		f.gone = append(f.gone[:0:0], f.gone[n:]...)
	}
}

// Begin starts a history without a past: of messages up to the UID accounted
// nothing is known. The next Rewrite makes the file.
func (f *File) Begin(validity, accounted uint32) {
	start := f.floor()
	f.begun, f.rewrite = true, true
	f.h = header{since: start, highest: start, validity: validity, accounted: accounted, lettered: true}
	f.mtime = time.Time{}
	f.inode, f.size, f.last, f.records, f.gone, f.letters = 0, 0, 0, 0, nil, Names{}
}

// floor returns a mod-sequence above any that was given by the clock of the
// folder, whose traces are the times of its directories and files.
func (f *File) floor() uint64 {
	last := f.opt.Now()
	newer := func(st dirfd.Stat, err error) {
		if err == nil && st.Mtime.After(last) {
			last = st.Mtime
		}
	}
	newer(f.dir.Stat())
	for _, name := range []string{"cur", "new", "dovecot-uidlist", Name} {
		newer(f.dir.Lstat(name))
	}
	return max(f.h.highest+1, fromClock(last)+lead)
}

func fromClock(t time.Time) uint64 {
	return uint64(min(max(t.UnixMicro(), 1), maxModSeq/2))
}

// GoneSince returns what was removed after the mod-sequence since, oldest
// first. exact is false if that is too long ago to be known.
func (f *File) GoneSince(since uint64) (runs []Run, exact bool) {
	if since < f.h.since {
		return nil, false
	}
	from := sort.Search(len(f.gone), func(i int) bool { return f.gone[i].modseq > since })
	for _, g := range f.gone[from:] {
		runs = append(runs, g.Run)
	}
	return runs, true
}
