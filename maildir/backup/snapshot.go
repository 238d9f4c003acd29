package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/walk"
)

// ErrNoMaildir means that there is nothing to copy.
var ErrNoMaildir = errors.New("no such Maildir")

// errVanished means that there was mail at the last snapshot, and now there is no folder.
var errVanished = errors.New("it has no folder, but its previous snapshot has: its file system may not be mounted; if its mail was removed on purpose, move its snapshots away")

// Options define what is copied, and where to.
type Options struct {
	Root   string // path of the Maildir
	Dest   string // directory of this Maildir's snapshots; created if it is missing
	Locker *dotlock.Locker
	// Accept, if not nil, returns an error if the Maildir must not be worked on.
	Accept func(root *dirfd.Dir) error
	// Progress, if not nil, is called from time to time with the number of messages that
	// are done, and the approximate total.
	Progress func(done, total int)

	noEvents bool                        // as on a network file system
	before   func(op, path string) error // for tests: see dirfd.Dir.Before
}

// Result describes a snapshot.
type Result struct {
	Path                   string
	Folders, Messages      int
	Linked, Shared, Copied int // how messages were added: hard links, shared blocks, copied bytes
	Earlier                int // hard links to the previous snapshot
	Passes                 int
	LongestLock            time.Duration // longest time for which a folder of the Maildir was locked
	// Unread is set if a file was left out because it could not be read. What is no regular
	// file, and so no mail, does not count.
	Unread bool
	// Notes are what an operator should know: files that are not included, folders that
	// could not be locked.
	Notes []string
}

// nameLayout is the format of a snapshot's name: its time in UTC.
const nameLayout = "20060102T150405Z"

// The names in a directory of snapshots.
const (
	latestLink = "latest" // symbolic link to the newest snapshot
	runLock    = ".lock"
	incomplete = ".incomplete"
)

// isSnapshot reports whether a name in Dest is that of a finished snapshot.
func isSnapshot(name string) bool {
	stamp, _, _ := strings.Cut(name, "-")
	_, err := time.Parse(nameLayout, stamp)
	return err == nil
}

// Take makes a snapshot. It returns ErrNoMaildir if there is no Maildir and there was none, and
// also fails if there is none any more, if another run is writing to the same place, if that
// place is inside the Maildir, or if for minutes mail is moved faster than it can be listed.
// After an error there is no snapshot, or, if only its name could not be made durable or
// "latest" not be changed, a complete one.
func Take(ctx context.Context, opt Options) (Result, error) {
	root, err := dirfd.Open(opt.Root)
	if errors.Is(err, fs.ErrNotExist) {
		err = noMaildir(opt.Dest, err)
	}
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	if opt.Accept != nil {
		if err := opt.Accept(root); err != nil {
			return Result{}, err
		}
	}
	root.Before(opt.before)
	if err := os.MkdirAll(opt.Dest, 0o700); err != nil {
		return Result{}, err
	}
	dest, err := dirfd.Open(opt.Dest)
	if err != nil {
		return Result{}, err
	}
	defer dest.Close()
	lock, err := lockRun(dest)
	if err != nil {
		return Result{}, err
	}
	defer lock.Close()
	if err := clean(dest); err != nil {
		return Result{}, err
	}
	earlier, err := newest(dest)
	if err != nil {
		return Result{}, err
	}
	s := &snapshot{opt: opt, root: root, dest: dest, folders: map[string]*folder{}, seed: maphash.MakeSeed()}
	if err := s.openEarlier(earlier); err != nil {
		return Result{}, err
	}
	defer s.close()
	if !opt.noEvents {
		s.events = newEvents(root)
	}
	name, late := freeName(dest, time.Now(), earlier)
	if late {
		s.note(fmt.Sprintf("the clock is behind the previous snapshot (%s), so this one is named one second after it to keep the order", earlier))
	}
	if err := s.take(ctx, name); err != nil {
		return Result{}, errors.Join(err, dest.RemoveAll("."+name+incomplete))
	}
	s.Path = opt.Dest + "/" + name
	return s.Result, nil
}

// noMaildir returns the error for a Maildir that does not exist, given the error about it.
func noMaildir(path string, err error) error {
	dest, missing := dirfd.Open(path)
	if errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoMaildir, err)
	}
	if missing != nil {
		return missing
	}
	defer dest.Close()
	switch earlier, unknown := newest(dest); {
	case unknown != nil:
		return unknown
	case earlier != "":
		return fmt.Errorf("%w: %w", errVanished, err)
	}
	return fmt.Errorf("%w: %w", ErrNoMaildir, err)
}

// lockRun prevents two simultaneous runs. The kernel releases the lock when this process
// ends, however it ends.
func lockRun(dest *dirfd.Dir) (*dirfd.File, error) {
	f, err := dest.Create(runLock, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = dest.OpenAppend(runLock)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another backup to this place is running: %s", dest.Path())
	}
	return f, nil
}

// clean removes what interrupted runs left behind.
func clean(dest *dirfd.Dir) error {
	var left []string
	err := dest.List(func(raw []byte, _ dirfd.Kind, _ uint64) bool {
		if name := string(raw); strings.HasPrefix(name, ".") && strings.HasSuffix(name, incomplete) {
			left = append(left, name)
		}
		return true
	})
	for _, name := range left {
		err = errors.Join(err, dest.RemoveAll(name))
	}
	return err
}

// newest returns the name of the newest snapshot, "" if there is none.
func newest(dest *dirfd.Dir) (name string, err error) {
	err = dest.List(func(raw []byte, _ dirfd.Kind, _ uint64) bool {
		if isSnapshot(string(raw)) {
			name = max(name, string(raw))
		}
		return true
	})
	return name, err
}

// freeName returns the current time, with a suffix if there is already a snapshot of that
// second. The name sorts after all earlier ones, including those that have been removed
// since, because names determine the order in which snapshots are used and removed. If the
// clock was set back, late is set, and the name is that of the second after earlier.
func freeName(dest *dirfd.Dir, now time.Time, earlier string) (name string, late bool) {
	stamp := now.UTC().Format(nameLayout)
	before, _, _ := strings.Cut(earlier, "-")
	if t, err := time.Parse(nameLayout, before); err == nil && before > stamp {
		stamp, late = t.Add(time.Second).Format(nameLayout), true
	}
	name = stamp
	for n := 2; ; n++ {
		if _, err := dest.Lstat(name); errors.Is(err, fs.ErrNotExist) && (name > earlier || !strings.HasPrefix(earlier, stamp)) {
			return name, late
		}
		name = fmt.Sprintf("%s-%03d", stamp, n)
	}
}

// snapshot is a snapshot in the making.
type snapshot struct {
	opt        Options
	root, dest *dirfd.Dir
	target     *dirfd.Dir // of the incomplete snapshot
	earlier    *dirfd.Dir // the previous snapshot; nil if there is none

	events  *events            // nil if they are not available
	folders map[string]*folder // by path
	derived []derived
	dropped map[derived]bool
	pending []pending
	index   *earlierIndex
	total   int // messages, as first counted
	seed    maphash.Seed
	notLink bool
	noted   map[string]bool

	Result
}

func (s *snapshot) openEarlier(name string) error {
	if name == "" {
		return nil
	}
	d, err := s.dest.OpenDir(name)
	if walk.Gone(err) {
		return nil
	}
	s.earlier = d
	return err
}

func (s *snapshot) close() {
	for _, d := range []*dirfd.Dir{s.target, s.earlier} {
		if d != nil {
			_ = d.Close()
		}
	}
	s.dropPending()
	s.events.close()
}

// take makes the snapshot and renames it into place.
func (s *snapshot) take(ctx context.Context, name string) error {
	temp := "." + name + incomplete
	if err := s.dest.Mkdir(temp); err != nil {
		return err
	}
	var err error
	if s.target, err = s.dest.OpenDir(temp); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	if s.Folders == 0 && s.earlier != nil {
		if had, err := hasFolder(s.earlier); had || err != nil {
			return cmp.Or(err, errVanished)
		}
	}
	if err := s.target.SyncAll(); err != nil {
		return err
	}
	if err := s.dest.RenameNoReplace(temp, s.dest, name); err != nil {
		return err
	}
	return errors.Join(s.pointLatest(name), s.dest.Sync())
}

func hasFolder(root *dirfd.Dir) (bool, error) {
	tree, err := walk.Tree(root)
	return slices.ContainsFunc(tree, func(d walk.Dir) bool { return d.Folder }), err
}

// pointLatest makes the symbolic link "latest" point to a snapshot.
func (s *snapshot) pointLatest(name string) error {
	temp := "." + latestLink + incomplete
	if err := s.dest.RemoveAll(temp); err != nil {
		return err
	}
	if err := s.dest.Symlink(name, temp); err != nil {
		return err
	}
	return s.dest.Rename(temp, s.dest, latestLink)
}

// finish sets the rights of directories and raises the numbers.
func (s *snapshot) finish() error {
	for _, path := range s.paths() {
		f := s.folders[path]
		s.Messages += len(f.dirs[0].have) + len(f.dirs[1].have)
		if f.mail {
			s.Folders++
		}
		if err := s.finishFolder(f); err != nil {
			return err
		}
	}
	return RaiseValidity(s.target, time.Now())
}

func (s *snapshot) finishFolder(f *folder) error {
	d, err := walk.Open(s.target, f.path)
	if err != nil {
		return err
	}
	defer d.Close()
	if f.mail {
		for i, sub := range walk.MailDirs {
			rights := f.rights[i]
			if !rights.Mode.IsDir() { // only the copy has it
				rights = f.own
			}
			if err := takeRights(d, sub, rights); err != nil {
				return err
			}
		}
	}
	if err := d.TakeRights(f.own); err != nil || !f.mail {
		return err
	}
	if f.robbed {
		s.note(fmt.Sprintf("%s: new messages could not be given UIDs before the copy: other programs held the lock each time", walk.Title(f.path)))
	}
	unread, err := raiseUIDNext(d)
	if unread != nil {
		s.note(fmt.Sprintf("%s: its dovecot-uidlist cannot be read and is copied as it is: %v", walk.Title(f.path), unread))
	}
	return err
}

func takeRights(d *dirfd.Dir, name string, from dirfd.Stat) error {
	sub, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return sub.TakeRights(from)
}

// paths lists the folders, with subfolders before their parents, because a directory's own
// rights may not allow changing its contents.
func (s *snapshot) paths() []string {
	var all []string
	for path := range s.folders {
		all = append(all, path)
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(b, a) })
	return all
}

// note adds a text to the notes, unless it is there already.
func (s *snapshot) note(text string) {
	if s.noted == nil {
		s.noted = map[string]bool{}
	}
	const most = 100
	if s.noted[text] || len(s.noted) > most {
		return
	}
	s.noted[text] = true
	if len(s.noted) > most {
		text = "there is more of this, which is not listed"
	}
	s.Notes = append(s.Notes, text)
}
