// Package check examines a Maildir for things that cause problems for mail programs, and
// repairs what can be repaired without losing mail.
//
// Each finding is one sentence about its cause. A repair renames a file, changes its owner or
// rights, makes a missing directory, rewrites a damaged uidlist, takes over a lock that was left
// behind, or moves what may or may not be mail into the quarantine; no mail is ever deleted. The
// Maildir may be in use: repairs are made while holding the folder's lock or that of the tree,
// and a file that was renamed before it could be examined is skipped. If it was renamed or
// written to before it could be repaired, the folder is checked again.
//
// Whatever the folders contain, the work is limited: only regular files are opened, holes
// in sparse files are not read, and memory use is a few bytes per message.
//
// check.go goes through the folders. part.go examines new, cur, tmp and the files in them,
// sizes.go the sizes in a message's name, duplicates.go messages with several names, lists.go
// dovecot-uidlist and dovecot-keywords, locks.go locks left behind, and links.go symbolic
// links. What any of them adds with (*at).add is reported, and repaired if it has a repair.
package check

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/quarantine"
	"maildird/maildir/walk"
)

// Options of Run.
type Options struct {
	Root     string // path of the Maildir
	Folder   folder.Options
	Repair   bool
	Locker   *dotlock.Locker
	Delivery *delivery.Options // for new names
	// Accept, if not nil, returns an error if the Maildir must not be worked on.
	Accept func(root *dirfd.Dir) error
	Now    func() time.Time // nil: time.Now
	// Tell is called for each finding.
	Tell func(Finding)
	// Progress, if not nil, is called from time to time with the number of messages that
	// are done, and the approximate total.
	Progress func(done, total int)
}

// Finding is a problem that was found.
type Finding struct {
	Folder string // path below the root, INBOX for the root
	Name   string // of the file or directory in the folder, quoted if it has unusual characters
	Cause  string // one sentence
	// Done says what the repair did, "" if nothing was repaired. Failed says why the repair
	// failed.
	Done   string
	Failed error
}

func (f Finding) String() string {
	text := f.Folder + ": " + f.Name + ": " + f.Cause
	switch {
	case f.Failed != nil:
		text += fmt.Sprintf("; not repaired: %v", f.Failed)
	case f.Done != "":
		text += "; repaired: " + f.Done
	}
	return text
}

// Result has the totals of a run. Findings are those that were repaired, and those that are
// left at its end.
type Result struct{ Folders, Messages, Findings, Repaired int }

// ErrNoMaildir means that there is nothing to check.
var ErrNoMaildir = errors.New("no such Maildir")

// Run checks one Maildir. It returns ErrNoMaildir if there is none, or only an empty
// directory.
func Run(ctx context.Context, opt Options) (Result, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	root, err := dirfd.Open(opt.Root)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNoMaildir, err)
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
	if empty, err := isEmpty(root); err != nil {
		return Result{}, err
	} else if empty {
		return Result{}, fmt.Errorf("%w: %s is empty", ErrNoMaildir, opt.Root)
	}
	st, err := root.Stat()
	if err != nil {
		return Result{}, err
	}
	tree, err := walk.Tree(root)
	if err != nil {
		return Result{}, err
	}
	tree = slices.DeleteFunc(tree, func(d walk.Dir) bool {
		return d.Path == quarantine.Name || strings.HasPrefix(d.Path, quarantine.Name+"/")
	})
	folders, err := folder.NewTree(root, opt.Folder)
	if err != nil {
		return Result{}, err
	}
	c := &checker{opt: opt, root: root, folders: folders, owner: st, seed: maphash.MakeSeed(), told: map[uint64]bool{}}
	c.count(tree)
	c.wholeTree(tree)
	for _, d := range tree {
		if err := c.folder(ctx, d); err != nil {
			return c.Result, fmt.Errorf("%s: %w", walk.Title(d.Path), err)
		}
	}
	return c.Result, nil
}

// isEmpty reports whether a directory is empty, because no mail has arrived yet.
func isEmpty(d *dirfd.Dir) (bool, error) {
	empty := true
	err := d.List(func([]byte, dirfd.Kind, uint64) bool {
		empty = false
		return false
	})
	return empty, err
}

// checker is one run and its results.
type checker struct {
	opt     Options
	root    *dirfd.Dir
	folders *folder.Tree
	owner   dirfd.Stat // of the root
	total   int
	seed    maphash.Seed
	told    map[uint64]bool // hashes of what was reported in this folder as not repaired
	skipped bool            // a repair of this look was not made since another program changed the file
	last    bool            // this look at the folder is the last

	Result
}

// problem is a finding that may be repaired.
type problem struct {
	name, cause string
	repair      func() (done string, err error) // nil: it cannot be repaired
	tree        bool                            // repair takes the lock of the tree, not the folder's
}

// at is the folder that is being checked.
type at struct {
	path     string
	dir      *dirfd.Dir
	problems []problem
	letters  [26]int // number of messages with each keyword letter
}

func (a *at) add(name, cause string, repair func() (string, error)) {
	a.problems = append(a.problems, problem{name: name, cause: cause, repair: repair})
}

// in returns a repair that calls do with a part of the folder, or for "" with the folder
// itself.
func (a *at) in(part string, do func(*dirfd.Dir) (string, error)) func() (string, error) {
	return func() (string, error) {
		if part == "" {
			return do(a.dir)
		}
		dir, err := a.dir.OpenDir(part)
		if err != nil {
			return "", err
		}
		defer dir.Close()
		return do(dir)
	}
}

// most is how many problems are collected before they are reported and repaired.
const most = 1000

// wholeTree checks what does not belong to a single folder.
func (c *checker) wholeTree(tree []walk.Dir) {
	a := &at{dir: c.root}
	if !slices.ContainsFunc(tree, func(d walk.Dir) bool { return d.Path == "" && d.Folder }) {
		a.add(".", "it has neither cur nor new, so it is not a Maildir yet", nil)
	}
	if _, err := c.folders.Subscriptions(); err != nil {
		a.add("subscriptions", fmt.Sprintf("it cannot be read, so no folder counts as subscribed: %v", err), nil)
	}
	c.tell(a)
}

// looks is how often a folder is checked, as long as repairs give names to files that may
// have other problems, or other programs rename files before they can be repaired.
const looks = 4

// folder checks one directory of the tree and, if it is a mail folder, its contents.
func (c *checker) folder(ctx context.Context, d walk.Dir) error {
	if d.Folder {
		c.Folders++
	}
	clear(c.told)
	before := c.Result
	for n := range looks {
		repaired := c.Repaired
		c.last = n == looks-1
		// What was not repaired is found again, unless another repair put an end to it.
		c.Messages, c.Findings, c.skipped = before.Messages, before.Findings+repaired-before.Repaired, false
		dir, err := walk.Open(c.root, d.Path)
		if walk.Gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		err = c.look(ctx, &at{path: d.Path, dir: dir}, d.Folder)
		_ = dir.Close()
		if err != nil || c.Repaired == repaired && !c.skipped {
			return err
		}
	}
	return nil
}

// look checks a folder once. Two names of one message come first: what else is wrong with a
// name does not matter if the file does not keep it.
func (c *checker) look(ctx context.Context, a *at, mail bool) error {
	if err := c.leftLocks(a); err != nil {
		return err
	}
	if err := c.links(a, mail); err != nil {
		return err
	}
	if mail {
		if err := c.duplicates(ctx, a); err != nil {
			return err
		}
		if err := c.settle(ctx, a); err != nil {
			return err
		}
		if err := c.parts(ctx, a); err != nil {
			return err
		}
		c.list(a)
		c.keywords(a)
	}
	return c.settle(ctx, a)
}

// parts checks new, cur and tmp.
func (c *checker) parts(ctx context.Context, a *at) error {
	for _, part := range walk.MailDirs {
		if err := c.part(ctx, a, part); err != nil {
			return err
		}
	}
	return nil
}

// settle repairs the problems of a folder if so requested, and reports them.
func (c *checker) settle(ctx context.Context, a *at) error {
	if len(a.problems) == 0 {
		return nil
	}
	if !c.opt.Repair {
		c.tell(a)
		return nil
	}
	a.problems = slices.DeleteFunc(a.problems, func(p problem) bool {
		if p.tree {
			c.repair(a, p)
		}
		return p.tree
	})
	if len(a.problems) == 0 {
		return nil
	}
	lock, err := c.opt.Locker.Acquire(ctx, a.dir, "dovecot-uidlist.lock", dotlock.Options{Timeout: time.Minute, Watch: []string{"dovecot-uidlist"}})
	if errors.Is(err, dotlock.ErrLocked) {
		for i := range a.problems {
			a.problems[i].repair = func() (string, error) { return "", err }
			c.repair(a, a.problems[i])
		}
		a.problems = a.problems[:0]
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	for i, p := range a.problems {
		if i%64 == 0 {
			if err := lock.Touch(); err != nil {
				return err
			}
		}
		c.repair(a, p)
	}
	a.problems = a.problems[:0]
	return a.dir.Sync()
}

func (c *checker) repair(a *at, p problem) {
	f := Finding{Folder: walk.Title(a.path), Name: p.name, Cause: p.cause}
	hash := maphash.Comparable(c.seed, f)
	if p.repair != nil {
		f.Done, f.Failed = p.repair()
		if errors.Is(f.Failed, fs.ErrNotExist) && !c.last {
			c.skipped = true // it was renamed or removed meanwhile, or another program created it
			return
		}
		if f.Failed == nil && f.Done != "" {
			c.Repaired++
		}
	}
	c.Findings++
	if f.Done == "" {
		if c.told[hash] {
			return
		}
		c.told[hash] = true
	}
	c.opt.Tell(f)
}

// tell reports the problems without repairing them.
func (c *checker) tell(a *at) {
	for _, p := range a.problems {
		c.Findings++
		c.opt.Tell(Finding{Folder: walk.Title(a.path), Name: p.name, Cause: p.cause})
	}
	a.problems = a.problems[:0]
}

// count estimates the work for the progress bar.
func (c *checker) count(tree []walk.Dir) {
	if c.opt.Progress == nil {
		return
	}
	for _, d := range tree {
		for _, part := range walk.MailDirs[:2] {
			dir, err := walk.Open(c.root, walk.Join(d.Path, part))
			if err != nil {
				continue
			}
			_ = dir.List(func([]byte, dirfd.Kind, uint64) bool { c.total++; return true })
			_ = dir.Close()
		}
	}
	c.opt.Progress(0, c.total)
}
