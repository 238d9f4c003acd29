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

// errInside means that the snapshots would be inside the Maildir itself.
var errInside = errors.New("the snapshots would lie inside the Maildir")

const (
	maxPasses = 400
	patience  = 5 * time.Minute // how long to wait for a quiet moment
	// lockedPasses is the number of passes after which folders are copied without their
	// locks if one of them stays locked.
	lockedPasses = 20
	// alonePasses is the same if all other folders already match the copy.
	alonePasses = 4
	// together is the maximum number of folders that are locked at once.
	together = 64
	// firstPause and longestPause are the pauses between passes that found no quiet moment.
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
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
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

// pass brings folders up to date. It returns those of them that had not changed, while they
// were locked, after all of them had been brought up to date.
func (s *snapshot) pass(ctx context.Context, changed []*folder) ([]*folder, error) {
	if s.Passes > 1 && len(changed) <= together {
		for _, f := range changed {
			if err := s.bulk(ctx, f); err != nil {
				return nil, err
			}
		}
		return s.visit(ctx, changed)
	}
	var settled []*folder
	for _, f := range changed {
		if err := s.bulk(ctx, f); err != nil {
			return nil, err
		}
		one, err := s.visit(ctx, []*folder{f})
		if err != nil {
			return nil, err
		}
		settled = one
	}
	if len(changed) > 1 {
		settled = nil // each was checked at a different moment
	}
	return settled, nil
}

// changed lists the tree and returns the folders whose current state is not in the copy.
// Folders that are gone are removed from the copy.
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
		same, err := s.holds(f, (*folder).inStep)
		if err != nil {
			return nil, err
		}
		if !same || s.unnumbered(f) || f.ahead {
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

// unchangedBut reports whether the tree is the same as in the copy, and no folder has
// changed except possibly those that were seen at the moment of the snapshot. What happened
// in watched folders up to that moment is known.
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
		check := (*folder).inStep
		if slices.Contains(seen, f) || f.dirs[0].watched && f.dirs[1].watched {
			check = (*folder).inPlace
		}
		if same, err := s.holds(f, check); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// treeTries limits how often the directories are listed until two listings agree.
const treeTries = 100

// tree lists the directories of the Maildir until two listings agree: a directory that is
// renamed during a listing may be missing from it under both names.
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

// forget removes a folder from the copy, because its name now leads to a different one, or
// nowhere. Folders below it that still exist are copied again.
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

// bulk copies, without a lock, what a folder has that has to be listed: that may be much, as in
// one that was renamed.
func (s *snapshot) bulk(ctx context.Context, f *folder) error {
	if f.dirs[0].listed && f.dirs[1].listed {
		return nil
	}
	o, err := s.open(f)
	if o == nil || err != nil {
		return err
	}
	defer o.close()
	f.ahead = true
	if err := s.capture(ctx, o, nil); ignoreGone(err) != nil {
		return err
	}
	// Also if the folder was removed meanwhile: its copy is next, and nothing may be left to do in it.
	if err := s.drain(ctx); err != nil {
		return err
	}
	_, err = s.rearrange()
	return err
}

// visit brings folders up to date while holding their locks, and checks them again before
// it releases the locks: it returns all of them if none has changed, and otherwise none.
func (s *snapshot) visit(ctx context.Context, folders []*folder) ([]*folder, error) {
	all, err := s.openAll(folders)
	defer func() {
		for _, o := range all {
			o.f.list, o.f.recorded = nil, nil
			o.close()
		}
	}()
	if err != nil {
		return nil, err
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
		// Held by a program that does not release it: continue without it.
		s.note(fmt.Sprintf("%s: copied without the lock: %v", titles(folders), err))
	}
	// This is the moment of the snapshot, if nothing interferes.
	whole, err := s.moment()
	if err != nil {
		return nil, err
	}
	settled := whole && len(all) == len(folders) && !s.newsOutside(folders)
	same, err := s.updateAll(ctx, all, h)
	if err != nil {
		return nil, err
	}
	settled = settled && same
	h.release()
	if err := s.drain(ctx); err != nil {
		return nil, err
	}
	for _, f := range folders { // a file may have changed while it was copied
		settled = settled && !f.lacking()
	}
	complete, err := s.rearrange()
	if err != nil || !settled || !complete {
		return nil, err
	}
	return folders, nil
}

// openAll opens the folders that still exist, also if it returns an error, and prepares them.
func (s *snapshot) openAll(folders []*folder) (all []*opened, err error) {
	for _, f := range folders {
		o, err := s.open(f)
		if err != nil {
			return all, err
		}
		if o != nil {
			all = append(all, o)
			if err := s.prepare(o); err != nil {
				s.noteUnnumbered(o, err)
			}
		}
	}
	return all, nil
}

// updateAll brings folders up to date, and reports whether none of them has changed meanwhile.
func (s *snapshot) updateAll(ctx context.Context, all []*opened, h *hold) (settled bool, err error) {
	settled = true
	for _, o := range all {
		if err := s.update(ctx, o, h); err != nil {
			if ignoreGone(err) != nil {
				return false, err
			}
			settled = false
		}
		if err := h.tick(ctx); err != nil {
			return false, err
		}
	}
	for _, o := range all {
		same, err := s.seen(o)
		if err != nil {
			return false, err
		}
		settled = settled && same && !s.unnumbered(o.f)
	}
	return settled, nil
}

// momentTries limits how often a moment is tried at which all moves are completely known.
const momentTries = 20

// moment drains the events, and reports whether they contain both halves of each move. A
// rename is two events, one after the other, and between them a message would be nowhere.
// The kernel queues both while it holds the locks of both directories: once one of these
// directories could be listed, the second event has been queued, unless the destination is
// not watched.
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

// touchLock returns once all changes of new or cur of a folder that were in progress have
// ended. If the directory no longer exists, it was not removed before they ended; if it was
// moved, it is listed again before any pass can be the last one.
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

// unnumbered reports whether a folder needs another pass because another program got its
// lock before all its messages had UIDs.
func (s *snapshot) unnumbered(f *folder) bool { return f.robbed && s.Passes < lockedPasses }

// newsOutside reports whether anything changed in a watched folder that is not among these.
// The events must have been drained.
func (s *snapshot) newsOutside(these []*folder) bool {
	for _, f := range s.folders {
		for i := range f.dirs {
			if st := &f.dirs[i]; st.watched && (!st.listed || st.changed()) && !slices.Contains(these, f) {
				return true
			}
		}
	}
	return false
}

// seen reports whether the directories of a folder were seen as they were when the events
// were last drained, or as they are now. A directory that was listed after that does not
// qualify: a message may have moved from it in between to a folder that was seen at that
// time.
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

// ignoreGone lets the next pass find out about a folder that was removed, completely or in
// part, while it was being copied.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// update brings one locked folder up to date.
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
	o.f.ahead = false
	return s.beside(ctx, o, h)
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
