// Package restore makes a Maildir that plain rsync copied while it was in use, in one or
// more passes without --delete, fit to be served.
//
// Such a copy has two faults, which a snapshot by package backup does not have:
//
//   - A message whose flags changed between or during passes is in it under several names.
//     A server would treat these as different messages and assign new UIDs to all but one.
//     This package reduces them to one name if their bytes are the same (see package dupes
//     for which one). If not, the ones whose size differs from the one in their
//     name are set aside as parts of an interrupted copy; whatever is complete and
//     different is kept under a name of its own.
//   - Its uidlist may be older than its messages, and older than what clients know: they
//     have seen UIDs for mail that came after it was copied. A server would assign those
//     UIDs to other mail, and clients would show old text for new mail. Either UIDVALIDITY
//     or UIDNEXT has to be increased. A new UIDVALIDITY makes every client download
//     everything again. A UIDNEXT far above any UID that can have been assigned since is
//     just as safe, and all messages in the list keep their UIDs. So UIDNEXT is raised, by
//     as much as in a snapshot (package backup) plus the number of messages that are not in
//     the list. Only if the list is damaged or missing is there no bound for the UIDs that
//     were assigned: then UIDVALIDITY is increased, above the value that the counter can
//     have reached in the meantime.
//
// Messages that are not in the list get UIDs from the next reader.
package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"maildird/maildir/backup"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/dupes"
	"maildird/maildir/filename"
	"maildird/maildir/quarantine"
	"maildird/maildir/uidlist"
	"maildird/maildir/walk"
)

// Options of Run.
type Options struct {
	Root     string // path of the copied Maildir
	DryRun   bool   // change nothing, only report
	Locker   *dotlock.Locker
	Delivery *delivery.Options // for new names
	// Accept, if not nil, returns an error if the Maildir must not be worked on.
	Accept func(root *dirfd.Dir) error
	// Tell is called for each change that is made, or would be made.
	Tell func(Change)
	// Progress, if not nil, is called from time to time with the number of folders that are
	// done, and the total.
	Progress func(done, total int)
}

// Change is one change that was made.
type Change struct {
	Folder string // path below the root, INBOX for the root
	Text   string // what, and why, in one line
}

// Result counts the changes that were made.
type Result struct {
	Folders, Merged, SetAside, Renamed, NewValidity int
}

// Run processes one Maildir. Files are durable when it returns.
func Run(ctx context.Context, opt Options) (Result, error) {
	root, err := dirfd.Open(opt.Root)
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	if opt.Accept != nil {
		if err := opt.Accept(root); err != nil {
			return Result{}, err
		}
	}
	tree, err := walk.Tree(root)
	if err != nil {
		return Result{}, err
	}
	if ok, err := isRoot(root, tree); err != nil || !ok {
		return Result{}, cmp.Or(err, fmt.Errorf("%s is not a Maildir: it has neither cur nor new; name each Maildir separately", opt.Root))
	}
	r := &run{opt: opt, root: root}
	if err := r.raiseCounter(); err != nil {
		return r.Result, err
	}
	for i, d := range tree {
		if err := context.Cause(ctx); err != nil {
			return r.Result, err
		}
		if opt.Progress != nil {
			opt.Progress(i, len(tree))
		}
		if !d.Folder {
			continue
		}
		if err := r.folder(ctx, d.Path); err != nil {
			return r.Result, fmt.Errorf("%s: %w", walk.Title(d.Path), err)
		}
	}
	if opt.DryRun {
		return r.Result, nil
	}
	return r.Result, root.SyncAll()
}

// rootFiles are files in the root of a user's Maildir, even if INBOX is elsewhere.
var rootFiles = []string{"subscriptions", "dovecot-uidvalidity", "dovecot-uidlist"}

// isRoot reports whether root is a user's Maildir, rather than a directory with the
// Maildirs of many users, or of other programs, somewhere below it: those may be in use,
// and restore is for copies.
func isRoot(root *dirfd.Dir, tree []walk.Dir) (bool, error) {
	if slices.ContainsFunc(tree, func(d walk.Dir) bool { return d.Folder && d.Path == "" }) {
		return true, nil
	}
	for _, name := range rootFiles {
		if _, err := root.Lstat(name); err == nil {
			return true, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// run is the work on one Maildir, and its result so far.
type run struct {
	opt  Options
	root *dirfd.Dir
	Result
}

func (r *run) tell(folder, format string, args ...any) {
	if r.opt.Tell != nil {
		r.opt.Tell(Change{walk.Title(folder), fmt.Sprintf(format, args...)})
	}
}

// raiseCounter makes new mailboxes get a UIDVALIDITY that no mailbox had at the source.
func (r *run) raiseCounter() error {
	if r.opt.DryRun {
		return nil
	}
	return backup.RaiseValidity(r.root, time.Now())
}

// lockWait and lockStale are for a folder's lock, which may have been copied together with
// the mail: nobody refreshes it.
const lockWait, lockStale = time.Minute, 15 * time.Second

// folder makes one folder fit to be served, while holding its lock unless nothing is
// changed.
func (r *run) folder(ctx context.Context, path string) error {
	d, err := walk.Open(r.root, path)
	if walk.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	r.Folders++
	var lock *dotlock.Lock
	if !r.opt.DryRun {
		lock, err = r.opt.Locker.Acquire(ctx, d, uidlist.Name+".lock", dotlock.Options{Timeout: lockWait, Stale: lockStale, Watch: []string{uidlist.Name}})
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	groups, err := dupes.Find(d)
	if err != nil {
		return err
	}
	for i, g := range groups {
		if lock != nil && i%16 == 0 {
			if err := lock.Touch(); err != nil {
				return err
			}
		}
		if err := r.merge(d, path, g); err != nil {
			return err
		}
	}
	return r.vouch(d, path)
}

// merge reduces the names of a message to one.
func (r *run) merge(d *dirfd.Dir, path string, g dupes.Group) error {
	whole := map[dupes.File]bool{}
	for _, f := range g.Files {
		var err error
		if whole[f], err = dupes.Whole(d, f); err != nil {
			return err
		}
	}
	// A part of an interrupted copy is never the one to keep.
	slices.SortStableFunc(g.Files, func(a, b dupes.File) int {
		switch {
		case whole[a] == whole[b]:
			return 0
		case whole[a]:
			return -1
		}
		return 1
	})
	keep, different := g.Files[0], false
	for _, f := range g.Files[1:] {
		same, err := dupes.Same(d, keep, f)
		switch {
		case err != nil:
			return err
		case same:
			err = r.remove(d, path, f, keep)
		case whole[keep] && !whole[f]:
			r.SetAside++
			r.tell(path, "kept %s; moved %s, a part of it (%d bytes), to %s", keep, f, f.Size, quarantine.Place(path))
			err = r.setAside(d, path, f)
		default:
			different = true
			err = r.rename(d, path, f)
		}
		if err != nil {
			return err
		}
	}
	if different {
		// It is unknown which of them has the UID in the list.
		return r.rename(d, path, keep)
	}
	return nil
}

// remove removes f, another name of the same message as keep, unless a program that uses the
// Maildir has just removed keep or may be about to: f may be the last name.
func (r *run) remove(d *dirfd.Dir, path string, f, keep dupes.File) error {
	settled, err := dupes.Settled(d, f, keep, time.Now())
	if err != nil {
		return err
	}
	if !settled {
		r.tell(path, "left %s beside %s, the same message: another program is just renaming or removing one of them", f, keep)
		return nil
	}
	r.Merged++
	r.tell(path, "kept %s; removed %s, an older name of the same message", keep, f)
	if r.opt.DryRun {
		return nil
	}
	return inPart(d, f, func(part *dirfd.Dir) error { return part.Remove(f.Name) })
}

func (r *run) setAside(d *dirfd.Dir, path string, f dupes.File) error {
	if r.opt.DryRun {
		return nil
	}
	return inPart(d, f, func(part *dirfd.Dir) error {
		_, err := quarantine.Move(r.root, path, part, f.Name)
		return err
	})
}

func (r *run) rename(d *dirfd.Dir, path string, f dupes.File) error {
	r.Renamed++
	r.tell(path, "gave %s a new name and UID: there is another message with the same name up to the flags", f)
	if r.opt.DryRun {
		return nil
	}
	name := r.opt.Delivery.UniqueName()
	if flags := filename.FlagsOf(f.Name); flags != 0 || f.Part == "cur" {
		name = filename.WithFlags(name, flags)
	}
	return inPart(d, f, func(part *dirfd.Dir) error { return part.RenameNoReplace(f.Name, part, name) })
}

func inPart(d *dirfd.Dir, f dupes.File, do func(part *dirfd.Dir) error) error {
	part, err := d.OpenDir(f.Part)
	if err != nil {
		return err
	}
	defer part.Close()
	return do(part)
}

// vouch makes sure that no UID is assigned that a client already knows.
func (r *run) vouch(d *dirfd.Dir, path string) error {
	list := uidlist.New(d, uidlist.Options{Fsync: true})
	var all []uidlist.Record
	change, err := list.Refresh(func(rec uidlist.Record) { all = append(all, rec) })
	if err != nil {
		return err
	}
	h := list.Header()
	if change == uidlist.Missing {
		return nil // its next reader takes a UIDVALIDITY from the counter
	}
	unknown, err := countUnknown(d, all)
	if err != nil {
		return err
	}
	if list.Damaged() {
		r.NewValidity++
		r.tell(path, "gave the folder a new UIDVALIDITY: its dovecot-uidlist is damaged, and clients must download the folder again")
		if r.opt.DryRun {
			return nil
		}
		if h.UIDValidity, err = uidlist.NextValidity(r.root, time.Now(), true); err != nil {
			return err
		}
		return list.Rewrite(h, slices.Values(all))
	}
	next := backup.RaisedUIDNext(h.NextUID, unknown)
	r.tell(path, "raised UIDNEXT from %d to %d: clients may know UIDs that were assigned after the copy; messages without a UID: %d", h.NextUID, next, unknown)
	if r.opt.DryRun {
		return nil
	}
	h.NextUID = next
	return list.Rewrite(h, slices.Values(all))
}

// countUnknown counts the messages that have no UID in the list.
func countUnknown(d *dirfd.Dir, known []uidlist.Record) (int, error) {
	bases := make(map[string]struct{}, len(known))
	for _, r := range known {
		bases[r.Base] = struct{}{}
	}
	n := 0
	for _, part := range walk.MailDirs[:2] {
		sub, err := d.OpenDir(part)
		if walk.Gone(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		err = sub.List(func(raw []byte, _ dirfd.Kind, _ uint64) bool {
			if _, ok := bases[filename.Base(string(raw))]; !ok && !filename.Ignored(string(raw)) {
				n++
			}
			return true
		})
		_ = sub.Close()
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
