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
	"slices"
	"sort"
	"sync"
	"time"

	"maildird/maildir/dirfd"
)

const (
	// Name is the journal's file name in its folder.
	Name     = "maildird-history"
	tempName = Name + ".tmp"

	// maxGone limits how many runs of removed UIDs are remembered: they take half a
	// megabyte.
	maxGone = 1 << 15
	// lead is how far the first mod-sequence after a loss is ahead of the clock and of the
	// times of files. File systems write these within half a minute.
	lead = uint64(time.Minute / time.Microsecond)
	// step is the least distance of mod-sequences: whoever asks for those from N on means
	// all after N-1, and nobody was ever told both.
	step = 2
	// retryAfter is how long to wait before a journal that could not be written is tried
	// again.
	retryAfter = 10 * time.Second
)

// Options of New.
type Options struct {
	Fsync bool // whether Sync and Rewrite sync
	// DataSync makes a file's content durable; nil: by the usual system call. Tests set it.
	DataSync func(*dirfd.File) error
	Log      *slog.Logger
	Now      func() time.Time
}

// Change is what Refresh found.
type Change uint8

// The findings of Refresh.
const (
	Unchanged Change = iota // nothing new
	Appended                // only the new frames were passed on
	Replaced                // all frames were passed on, from the first one on
	Missing                 // there is no valid journal: call Begin
	Unknown                 // the disk does not respond, and all is as before: try again later
)

// File is the journal of one folder. Refresh, Begin, Add and Rewrite require
// dovecot-uidlist.lock. A File is not safe for concurrent use.
type File struct {
	dir *dirfd.Dir
	opt Options
	run uint64 // identifies this run of the machine

	begun bool // past and stored are valid; otherwise all is read again
	past
	stored

	failed error     // why the file could not be written, until it was
	retry  time.Time // when writing may be tried again after failed

	copied bool // see Copied
	// rejected is the inode number of the file that the log already reports as unusable: it
	// stays until the next Rewrite.
	rejected uint64
}

// past is what is known of what happened, whether it is in the file or not.
type past struct {
	h       header // as in the file, but brought up to date by each frame (note)
	gone    []gone // ascending by mod-sequence
	letters Names
	gaps    []gap
	// lost is the first mod-sequence of a gap that the next frame ends, 0 if there is none.
	lost uint64
}

// stored is what the file has of the past, as it was last read or written.
type stored struct {
	inode   uint64 // 0: there is no file
	size    int64
	mtime   time.Time // to detect another file with the same inode number and size
	last    uint64    // mod-sequence of the last frame
	records int       // messages and runs, but not save dates: each of these is added only once
	// rewrite is set if the file lacks something of the past and cannot be appended to.
	rewrite bool
	marked  bool // its end is damaged on purpose: see markEnd
}

// gone is a run of UIDs that were removed together, and when.
type gone struct {
	Run
	modseq uint64
}

// New returns the journal of the folder dir without reading it.
func New(dir *dirfd.Dir, opt Options) *File {
	f := &File{dir: dir, opt: opt, run: RunOfMachine()}
	if opt.DataSync == nil {
		f.opt.DataSync = (*dirfd.File).DataSync
	}
	return f
}

// RunOfMachine identifies the time since the machine was started. It is never 0.
var RunOfMachine = sync.OnceValue(func() uint64 {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		id = []byte(time.Now().String()) // different each time: each process starts anew
	}
	sum := fnv.New64a()
	_, _ = sum.Write(id)
	return sum.Sum64() | 1
})

// Highest returns the highest mod-sequence, 0 before Begin, Recall or Refresh.
func (f *File) Highest() uint64 { return f.h.highest }

// Accounted returns the highest UID that the journal accounts for.
func (f *File) Accounted() uint32 { return f.h.accounted }

// Letters returns the names that keyword letters in the journal's flags stand for: those at
// the time when the last frame with flags was added.
func (f *File) Letters() Names { return f.letters }

// EndLost reports whether the journal may have lost its end. A frame with the mod-sequence
// Next, which may be empty, has to be added then before anybody is told a mod-sequence.
func (f *File) EndLost() bool { return f.lost != 0 }

// Copied reports whether Refresh found a journal that was created elsewhere: the folder is
// a copy of another one, or was restored from a backup.
func (f *File) Copied() bool { return f.copied }

// Err returns why the journal could not be written, or nil if it is up to date.
func (f *File) Err() error { return f.failed }

// RetryAt returns when Rewrite is due after the journal could not be written; zero if it is
// up to date.
func (f *File) RetryAt() time.Time {
	if f.failed == nil {
		return time.Time{}
	}
	return f.retry
}

// Refresh reads what others wrote since the last call and calls give with each frame,
// ascending by mod-sequence. A frame is valid only during the call. Refresh returns Missing
// for a journal that belongs to another UIDVALIDITY, cannot be read, or is invalid for one
// of the reasons in the package comment; give may have been called before that was found
// out.
func (f *File) Refresh(validity uint32, give func(*Frame)) Change {
	begun := f.begun && f.h.validity == validity
	st, err := f.dir.Lstat(Name)
	if err == nil && begun && f.unchanged(st) {
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
	case errors.Is(err, dirfd.ErrNoAnswer):
		return Unknown
	case !errors.Is(err, fs.ErrNotExist):
		f.copied = f.copied || errors.Is(err, errCopy)
		if st.Ino != 0 && st.Ino == f.rejected {
			break
		}
		f.rejected = st.Ino
		f.opt.Log.Warn("the mailbox's change history cannot be used and starts anew: returning clients will fetch all flags again",
			"mailbox", f.dir.Path(), "file", Name, "reason", err)
	case begun && f.inode == 0:
		return Unchanged // it could not be written so far
	}
	f.begun = false
	return Missing
}

// Stale reports whether another process wrote to the journal since the last Refresh, or a
// frame has to be added because of EndLost.
func (f *File) Stale() bool {
	st, err := f.dir.Lstat(Name)
	if err != nil {
		return f.inode != 0
	}
	return !f.begun || f.EndLost() || !f.unchanged(st)
}

// unchanged reports whether the file is unchanged since it was last read or written.
func (f *File) unchanged(st dirfd.Stat) bool {
	return st.Ino == f.inode && st.Size == f.size && st.Mtime.Equal(f.mtime)
}

func (f *File) open(st dirfd.Stat, validity uint32, change Change, give func(*Frame)) (Change, error) {
	file, err := f.dir.Open(Name)
	if err != nil {
		return change, err
	}
	defer file.Close()
	if change == Appended && !f.continues(file, st, f.h) {
		change = Replaced // replaced twice, and the second file got the inode number of the first
	}
	return change, f.read(file, st, validity, change, give)
}

// read reads the file from where reading ended, or from its beginning.
func (f *File) read(file *dirfd.File, st dirfd.Stat, validity uint32, change Change, give func(*Frame)) error {
	at := f.size
	least := uint64(0) // the highest mod-sequence that the file had before
	if change == Replaced {
		if st.Size > maxFile {
			return fmt.Errorf("%w: it has %d bytes", errDamaged, st.Size)
		}
		h, err := f.readHeader(file, st, validity)
		if err != nil {
			return err
		}
		if f.begun && !f.rewrite && st.Ino == f.inode && h.birth == f.h.birth && h.birth != 0 {
			least = f.h.highest
		}
		f.begun, f.past, f.stored, f.failed = true, past{h: h}, stored{inode: st.Ino}, nil
		at = headerSize
	}
	fr := frameReader{r: bufio.NewReaderSize(io.NewSectionReader(file, at, st.Size-at), 64<<10), before: f.last}
	complete := true // nothing of the last change is missing
	for {
		frame, err := fr.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errDamaged) {
			if at < int64(f.h.base) {
				return errDamaged
			}
			f.ends(errors.Is(err, io.EOF), complete)
			break
		}
		if err != nil {
			return fmt.Errorf("it was read in part: %v", err) // not ErrNoAnswer: nothing is as before
		}
		at += frameHead + int64(len(fr.payload))
		f.note(frame)
		f.last, complete = frame.ModSeq, !frame.full()
		give(frame)
	}
	if f.h.highest < least {
		f.h.highest = least // for floor
		return errOverwritten
	}
	f.size, f.mtime = st.Size, st.Mtime
	return nil
}

// ends notes where the valid part of the journal ends: at its end or not, after a complete
// change or not.
func (f *File) ends(atEnd, complete bool) {
	if !atEnd {
		f.rewrite = true
		f.opt.Log.Info("the end of the mailbox's change history is damaged, as after a power failure: clients that were told of it will fetch all flags again",
			"mailbox", f.dir.Path(), "file", Name)
	}
	f.lost = 0
	if atEnd && f.h.run == f.run {
		return
	}
	if f.lost = f.h.highest; complete {
		f.lost++
	}
}

var (
	errCopy        = errors.New("it is a copy, as after a restore")
	errOverwritten = errors.New("an older copy was written over it")
)

func (f *File) readHeader(file *dirfd.File, st dirfd.Stat, validity uint32) (h header, err error) {
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
	}
	return h, nil
}

// sameBirth reports whether two creation times, as far as they are known (not 0), may be
// those of one file. Some file systems keep them more exactly in memory than on disk.
func sameBirth(a, b int64) bool {
	return a == 0 || b == 0 || time.Duration(a-b).Abs() < dirfd.CoarseGrain
}

// note adds a frame to what is remembered.
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
	f.gaps = append(f.gaps, frame.gaps...)
	if n := len(f.gaps) - maxGaps; n > 0 { // the oldest become one, with what is between them
		f.gaps[n].first = f.gaps[0].first
		f.gaps = slices.Delete(f.gaps, 0, n)
	}
	if frame.run != 0 {
		f.h.run = frame.run
	}
}

// Begin starts a history without a past: nothing is known of messages up to the UID
// accounted. The next Rewrite creates the file.
func (f *File) Begin(validity, accounted uint32) {
	start := f.floor()
	h := header{since: start, highest: start, run: f.run, validity: validity, accounted: accounted}
	f.begun, f.past, f.stored = true, past{h: h}, stored{rewrite: true}
}

// floor returns a mod-sequence above any that was derived from the clock of this folder's
// host, judging by the times of the folder's directories and files.
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
	return max(f.h.highest+step, fromClock(last)+lead)
}

func fromClock(t time.Time) uint64 {
	return uint64(min(max(t.UnixMicro(), 1), maxModSeq/2))
}

// Knows reports whether it is known what happened after the mod-sequence since: it is not in
// a gap, and not above all that are known.
func (f *File) Knows(since uint64) bool {
	for _, g := range f.gaps {
		if g.first <= since && since <= g.last {
			return false
		}
	}
	return since <= f.h.highest
}

// GoneSince returns what was removed after the mod-sequence since, oldest first. exact is
// false if that is not known, which may also be because since is too long ago.
func (f *File) GoneSince(since uint64) (runs []Run, exact bool) {
	if since < f.h.since || !f.Knows(since) {
		return nil, false
	}
	from := sort.Search(len(f.gone), func(i int) bool { return f.gone[i].modseq > since })
	for _, g := range f.gone[from:] {
		runs = append(runs, g.Run)
	}
	return runs, true
}
