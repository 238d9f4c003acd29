package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/walk"
)

// errInside says that the snapshots would lie in the Maildir itself.
var errInside = errors.New("the snapshots would lie inside the Maildir")

const (
	maxPasses = 400
	patience  = 5 * time.Minute // for a quiet moment
	// lockedPasses is after how many passes folders of which one stays locked
	// are copied without their locks.
	lockedPasses = 20
	// alonePasses is the same where all the others are as in the copy already.
	alonePasses = 4
	// together is how many folders are locked at once at most.
	together = 64
	// firstPause and longestPause are between passes that found no quiet moment.
	firstPause, longestPause = 2 * time.Millisecond, time.Second
)

// settle repeats passes until nothing has changed.
func (s *snapshot) settle(ctx context.Context) error {
	start := time.Now()
	pause := firstPause
	var done []*folder // by the last pass, which saw them all at one moment
	for s.Passes = 1; ; s.Passes++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if len(done) > 0 {
			if same, err := s.unchangedBut(done); same || err != nil {
				return err
			}
		}
		changed, err := s.changed()
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			return nil
		}
		if s.Passes > maxPasses || time.Since(start) > patience && s.Passes > 10 {
			return fmt.Errorf("mail in %s is moved or renamed without pause, so no copy is sure to be complete; try again later", titles(changed))
		}
		if s.Passes > 3 {
			time.Sleep(pause)
			pause = min(pause*5/4, longestPause)
		}
		if s.Passes == 1 {
			s.count(changed)
		}
		if done, err = s.pass(ctx, changed); err != nil {
			return err
		}
	}
}

// pass brings folders in step. It returns those of them that were found
// unchanged after all had been brought in step, while they were locked.
func (s *snapshot) pass(ctx context.Context, changed []*folder) ([]*folder, error) {
	if s.Passes > 1 && len(changed) <= together {
		return s.visit(ctx, changed)
	}
	var settled []*folder
	for _, f := range changed {
		if s.Passes == 1 {
			if err := s.bulk(ctx, f); err != nil {
				return nil, err
			}
		}
		one, err := s.visit(ctx, []*folder{f})
		if err != nil {
			return nil, err
		}
		settled = one
	}
	if len(changed) > 1 {
		settled = nil // each was checked at a moment of its own
	}
	return settled, nil
}

// changed lists the tree and returns the folders that are not in the copy as
// they are now. Folders that are gone leave the copy.
func (s *snapshot) changed() ([]*folder, error) {
	if err := s.events.drain(); err != nil {
		return nil, err
	}
	tree, err := s.tree()
	if err != nil {
		return nil, err
	}
	var changed []*folder
	here := make(map[string]bool, len(tree))
	for _, d := range tree {
		here[d.Path] = true
		if f := s.folders[d.Path]; f != nil && f.id != d.ID {
			if err := s.forget(f); err != nil {
				return nil, err
			}
		}
		f := s.folders[d.Path]
		if f == nil {
			f = &folder{path: d.Path, id: d.ID}
			s.folders[d.Path] = f
			changed = append(changed, f)
			continue
		}
		same, err := s.inStep(f)
		if err != nil {
			return nil, err
		}
		if !same || s.unnumbered(f) {
			changed = append(changed, f)
		}
	}
	for _, path := range s.paths() {
		if f := s.folders[path]; f != nil && !here[path] {
			if err := s.forget(f); err != nil {
				return nil, err
			}
		}
	}
	return changed, nil
}

// unchangedBut tells whether the tree is as in the copy and no folder has
// changed but perhaps those that were seen at the moment of the snapshot. What
// happened in watched folders up to that moment is known.
func (s *snapshot) unchangedBut(seen []*folder) (bool, error) {
	tree, err := s.tree()
	if err != nil || len(tree) != len(s.folders) {
		return false, err
	}
	for _, d := range tree {
		f := s.folders[d.Path]
		if f == nil || f.id != d.ID {
			return false, nil
		}
		if slices.Contains(seen, f) || f.dirs[0].watched && f.dirs[1].watched {
			continue
		}
		if same, err := s.inStep(f); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// treeTries bounds how often the directories are listed until two listings agree.
const treeTries = 100

// tree lists the directories of the Maildir until it finds the same twice: one that gets
// another name during a listing may be in it under neither.
func (s *snapshot) tree() ([]walk.Dir, error) {
	tree, err := walk.Tree(s.root)
	for try := 1; err == nil; try++ {
		before := tree
		if tree, err = walk.Tree(s.root); err == nil && slices.Equal(tree, before) {
			break
		}
		if try == treeTries {
			return nil, fmt.Errorf("folders of %s are renamed without pause; try again later", s.root.Path())
		}
	}
	if err != nil {
		return nil, err
	}
	id, err := s.dest.ID()
	if err != nil {
		return nil, err
	}
	for _, d := range tree {
		if d.ID == id {
			return nil, fmt.Errorf("%w %s: %s", errInside, s.root.Path(), s.dest.Path())
		}
	}
	return tree, nil
}

// forget takes a folder out of the copy: its name leads to another one now, or
// nowhere. Folders below it that still are there are copied anew.
func (s *snapshot) forget(f *folder) error {
	for path := range s.folders {
		if path == f.path || f.path == "" || strings.HasPrefix(path, f.path+"/") {
			delete(s.folders, path)
		}
	}
	if f.path == "" {
		return fmt.Errorf("the Maildir %s was replaced while it was copied", s.root.Path())
	}
	at := s.target
	name := f.path
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		parent, err := walk.Open(s.target, name[:i])
		if walk.Gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer parent.Close()
		at, name = parent, name[i+1:]
	}
	return at.RemoveAll(name)
}

// bulk copies what can be had without a lock.
func (s *snapshot) bulk(ctx context.Context, f *folder) error {
	o, err := s.open(f)
	if o == nil || err != nil {
		return err
	}
	defer o.close()
	return ignoreGone(s.capture(ctx, o, nil))
}

// visit brings folders in step under their locks, and checks them again before
// the locks are given back: it returns all of them if none has changed, else
// none.
func (s *snapshot) visit(ctx context.Context, folders []*folder) ([]*folder, error) {
	var all []*opened
	defer func() {
		for _, o := range all {
			o.f.list, o.f.recorded = nil, nil
			o.close()
		}
	}()
	for _, f := range folders {
		o, err := s.open(f)
		if err != nil {
			return nil, err
		}
		if o != nil {
			all = append(all, o)
			if err := s.prepare(o); err != nil {
				s.noteUnnumbered(o, err)
			}
		}
	}
	h := &hold{locker: s.opt.Locker, longest: &s.LongestLock, folders: all}
	defer h.release()
	if err := h.acquire(ctx); err != nil {
		if ignoreGone(err) == nil {
			return nil, nil
		}
		if !errors.Is(err, dotlock.ErrLocked) || len(folders) > 1 && s.Passes < lockedPasses || s.Passes < alonePasses {
			return nil, ignoreLocked(err)
		}
		// Held by a program that does not give it back: go on without.
		s.note(fmt.Sprintf("%s: copied without the lock: %v", titles(folders), err))
	}
	// This is the moment of the snapshot, if nothing comes between.
	whole, err := s.moment()
	if err != nil {
		return nil, err
	}
	settled := whole && len(all) == len(folders) && !s.newsOutside(folders)
	for _, o := range all {
		if err := s.update(ctx, o, h); err != nil {
			if ignoreGone(err) != nil {
				return nil, err
			}
			settled = false
		}
		if err := h.tick(ctx); err != nil {
			return nil, err
		}
	}
	for _, o := range all {
		same, err := s.seen(o)
		if err != nil {
			return nil, err
		}
		settled = settled && same && !s.unnumbered(o.f)
	}
	h.release()
	if err := s.drain(ctx); err != nil {
		return nil, err
	}
	complete, err := s.rearrange()
	if err != nil || !settled || !complete {
		return nil, err
	}
	return folders, nil
}

// momentTries bounds how often a moment is looked for at which all moves are known.
const momentTries = 20

// moment drains the events, and tells whether they have each move as a whole. A
// rename is two events, one after the other, and between them a message would be
// nowhere. The kernel queues both while it holds the locks of both directories:
// when one of these could be listed, the second event is there, or else it was a
// move to where nobody watches.
func (s *snapshot) moment() (bool, error) {
	for range momentTries {
		if err := s.events.drain(); err != nil {
			return false, err
		}
		halves := s.events.takeHalves()
		if len(halves) == 0 {
			return true, nil
		}
		for _, f := range s.folders {
			for i := range f.dirs {
				if !halves[&f.dirs[i]] {
					continue
				}
				if err := s.touchLock(f, i); err != nil {
					return false, err
				}
			}
		}
	}
	return false, nil
}

// touchLock returns when everybody who was changing new or cur of a folder has
// ended that. One that is not there any more was not removed before; one that was
// moved is listed anew, before any pass is the last one.
func (s *snapshot) touchLock(f *folder, i int) error {
	d, err := walk.Open(s.root, f.path)
	if err == nil {
		defer d.Close()
		d, err = d.OpenDir(walk.MailDirs[i])
	}
	if walk.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	return d.List(func([]byte, dirfd.Kind, uint64) bool { return false })
}

// unnumbered tells whether a folder is worth another pass, as somebody else got
// its lock before all its messages had UIDs.
func (s *snapshot) unnumbered(f *folder) bool { return f.robbed && s.Passes < lockedPasses }

// newsOutside tells whether anything changed in a watched folder that is not
// among these. The events are drained.
func (s *snapshot) newsOutside(these []*folder) bool {
	for _, f := range s.folders {
		for i := range f.dirs {
			if st := &f.dirs[i]; st.watched && (!st.listed || len(st.news) > 0) && !slices.Contains(these, f) {
				return true
			}
		}
	}
	return false
}

// seen tells whether the directories of a folder were seen as they were at
// the last drain of the events, or as they are now. One that was listed after
// that drain was not: a message may have left it in between, for a folder that
// is as it was at the drain.
func (s *snapshot) seen(o *opened) (bool, error) {
	for i := range o.f.dirs {
		st := &o.f.dirs[i]
		if st.watched && st.late {
			return false, nil
		}
		if st.watched && st.listed && !st.again {
			continue
		}
		if same, err := st.inStep(o.src, walk.MailDirs[i]); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// ignoreLocked lets the next pass try again.
func ignoreLocked(err error) error {
	if errors.Is(err, dotlock.ErrLocked) {
		return nil
	}
	return err
}

// ignoreGone lets the next pass see what became of a folder that was removed, or a part
// of it, while it was copied.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// update brings one locked folder in step.
func (s *snapshot) update(ctx context.Context, o *opened, h *hold) error {
	if err := s.capture(ctx, o, h); err != nil {
		return err
	}
	o.f.robbed = o.f.mail && h.robbed
	if h.locked() {
		if err := s.number(ctx, o, h); err != nil {
			s.noteUnnumbered(o, err)
		}
	}
	return s.beside(o)
}

func (s *snapshot) noteUnnumbered(o *opened, err error) {
	s.note(fmt.Sprintf("%s: new messages could not be given UIDs before the copy: %v", walk.Title(o.f.path), err))
}

// count estimates the work for the progress bar.
func (s *snapshot) count(folders []*folder) {
	if s.opt.Progress == nil {
		return
	}
	for _, f := range folders {
		d, err := walk.Open(s.root, f.path)
		if err != nil {
			continue
		}
		for _, sub := range walk.MailDirs[:2] {
			if m, err := d.OpenDir(sub); err == nil {
				_ = m.List(func([]byte, dirfd.Kind, uint64) bool { s.total++; return true })
				_ = m.Close()
			}
		}
		_ = d.Close()
	}
	s.opt.Progress(0, s.total)
}

func titles(folders []*folder) string {
	var names []string
	for _, f := range folders {
		names = append(names, walk.Title(f.path))
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return strings.Join(names, ", ")
}
