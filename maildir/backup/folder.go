package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
	"maildird/maildir/uidlist"
	"maildird/maildir/walk"
)

// folder is what is known of one directory of the Maildir and its copy.
type folder struct {
	path string
	id   dirfd.ID
	mail bool // it has or had new or cur

	own    dirfd.Stat
	rights [3]dirfd.Stat // of new, cur, tmp; zero if missing
	dirs   [2]state      // of new and cur
	files  map[string]version
	again  bool // the copy lacks one of files, which has to be copied in the next pass

	list     *uidlist.File
	unlisted bool                // there is no list
	validity uint32              // a UIDVALIDITY for that case
	recorded map[uint64]struct{} // hashes of the bases that have a UID
	fresh    []string            // names that came since UIDs were last assigned
	robbed   bool                // another program got the lock before they had UIDs
	ahead    bool                // it was copied without its lock since it was last visited
}

// state is what was seen of new or cur. have are the names in the copy. If the directory
// was listed, these are the names that it had: if it is watched, apart from news; otherwise
// as long as it had this modification time.
type state struct {
	ino     uint64 // 0 if there is no such directory
	listed  bool
	watched bool
	wd      int32 // the kernel's number of the watch
	time    time.Time
	have    map[string]struct{}
	news    map[string]bool     // names that were added (true) or removed since
	copies  bool                // files were copied and not linked
	written map[string]struct{} // names of files that were written to since then
	again   bool                // the copy lacks a message that has to be copied in the next pass
	lost    bool                // events were lost since its listing began
	late    bool                // it was listed after the moment of the pass, when its contents may have been different
}

// version distinguishes the states of a file.
type version struct {
	ino   uint64
	size  int64
	mtime time.Time
	ctime time.Time
}

func versionOf(st dirfd.Stat) version { return version{st.Ino, st.Size, st.Mtime, st.Ctime} }

// opened is a folder with handles of its directories and those of its copy.
type opened struct {
	f        *folder
	src, dst *dirfd.Dir
	from, to [2]*dirfd.Dir // new and cur; nil if missing
}

func (o *opened) close() {
	for _, d := range []*dirfd.Dir{o.src, o.dst, o.from[0], o.from[1], o.to[0], o.to[1]} {
		if d != nil {
			_ = d.Close()
		}
	}
}

// open opens a folder and creates the directories of its copy. It returns nil if the folder
// no longer exists.
func (s *snapshot) open(f *folder) (*opened, error) {
	src, err := walk.Open(s.root, f.path)
	if walk.Gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := &opened{f: f, src: src}
	err = s.openParts(o)
	if err == nil && o.dst != nil {
		return o, nil
	}
	o.close()
	return nil, err
}

// openParts opens the handles for open. o.dst stays nil if the folder was replaced by
// another one.
func (s *snapshot) openParts(o *opened) error {
	st, err := o.src.Stat()
	if err != nil || st.ID() != o.f.id {
		return err
	}
	o.f.own = st
	for i, sub := range walk.MailDirs {
		part, err := o.src.Lstat(sub)
		if err == nil && part.Mode.IsDir() {
			o.f.rights[i] = part
			o.f.mail = true
		}
	}
	dst, err := makeAll(s.target, o.f.path)
	if err != nil {
		return err
	}
	o.dst = dst
	if !o.f.mail {
		return nil
	}
	for i, sub := range walk.MailDirs {
		if err := dst.Mkdir(sub); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if i == len(o.from) {
			break // nothing is copied from tmp
		}
		if o.to[i], err = dst.OpenDir(sub); err != nil {
			return err
		}
		if o.from[i], err = o.src.OpenDir(sub); walk.Gone(err) {
			o.from[i], err = nil, nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeAll opens a directory below d and creates what is missing of its path.
func makeAll(d *dirfd.Dir, path string) (*dirfd.Dir, error) {
	at, err := d.Dup()
	if err != nil || path == "" {
		return at, err
	}
	for level := range strings.SplitSeq(path, "/") {
		if err := at.Mkdir(level); err != nil && !errors.Is(err, fs.ErrExist) {
			_ = at.Close()
			return nil, err
		}
		sub, err := at.OpenDir(level)
		_ = at.Close()
		if err != nil {
			return nil, err
		}
		at = sub
	}
	return at, nil
}

// lacking reports whether something of a folder that was seen is left to the next pass.
func (f *folder) lacking() bool { return f.again || f.dirs[0].again || f.dirs[1].again }

// holds reports whether something is true of the source of a folder, which is not if it is gone.
func (s *snapshot) holds(f *folder, something func(*folder, *dirfd.Dir) (bool, error)) (bool, error) {
	d, err := walk.Open(s.root, f.path)
	if walk.Gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer d.Close()
	return something(f, d)
}

// inStep reports whether the copy of a folder matches its current state.
func (f *folder) inStep(d *dirfd.Dir) (bool, error) {
	id, err := d.ID()
	if err != nil || id != f.id {
		return false, err
	}
	for i := range f.dirs {
		if same, err := f.dirs[i].inStep(d, walk.MailDirs[i]); !same || err != nil {
			return false, err
		}
	}
	now, _, err := beside(d)
	if err != nil || len(now) != len(f.files) {
		return false, ignoreGone(err)
	}
	for name, st := range now {
		if v, ok := f.files[name]; !ok || v != versionOf(st) {
			return false, nil
		}
	}
	return true, nil
}

// inPlace reports whether new and cur of a folder are the directories that were seen there.
func (f *folder) inPlace(d *dirfd.Dir) (bool, error) {
	for i := range f.dirs {
		part, err := d.Lstat(walk.MailDirs[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if !part.Mode.IsDir() {
			part.Ino = 0
		}
		if part.Ino != f.dirs[i].ino {
			return false, nil
		}
	}
	return true, nil
}

// inStep reports whether a directory is still as it was seen. The events must have been
// drained.
func (st *state) inStep(folder *dirfd.Dir, name string) (bool, error) {
	part, err := folder.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return len(st.have) == 0, nil
	case err != nil:
		return false, err
	case !part.Mode.IsDir():
		return true, nil
	case !st.listed || st.again || part.Ino != st.ino:
		return false, nil
	case st.watched:
		return !st.changed(), nil
	}
	return part.Mtime.Equal(st.time), nil
}

// changed reports whether a watched directory has changed since its names were copied.
func (st *state) changed() bool { return len(st.news)+len(st.written) > 0 }

// capture brings the messages of a folder's copy up to date. With a hold, it gives way to
// other programs in time.
func (s *snapshot) capture(ctx context.Context, o *opened, h *hold) error {
	for i := range o.from {
		if o.from[i] == nil {
			for name := range o.f.dirs[i].have {
				s.drop(o.f, i, name)
			}
			s.events.unwatch(&o.f.dirs[i]) // should it come back, its messages are to be copied again
			o.f.dirs[i].ino = 0
			continue
		}
		if err := s.captureDir(ctx, o, i, h); err != nil {
			return err
		}
	}
	return nil
}

// captureDir copies what the copy lacks of new or cur. new comes first, since messages move
// from there to cur.
func (s *snapshot) captureDir(ctx context.Context, o *opened, i int, h *hold) error {
	d := &o.f.dirs[i]
	now, err := o.from[i].Stat()
	if err != nil {
		return err
	}
	if d.ino != now.Ino {
		d.ino = now.Ino
		d.watched = s.events.watch(o.from[i], d)
	}
	if err := s.rewritten(o, i); err != nil {
		return err
	}
	if d.late = false; d.watched && d.listed {
		if h == nil {
			return nil // all at one moment, later
		}
		return s.captureNews(ctx, o, i, h)
	}
	d.late = h != nil
	before, sharp, err := settledTime(o.from[i], h != nil && !d.watched)
	if err != nil {
		return err
	}
	if d.listed && sharp && before.Equal(d.time) && !d.again {
		return nil
	}
	d.listed, d.again, d.lost, d.news = false, false, false, nil
	listed, err := s.list(ctx, o, i, h)
	if err != nil {
		return err
	}
	after, err := o.from[i].Stat()
	if err != nil || !d.watched && (!sharp || !after.Mtime.Equal(before)) {
		return err
	}
	if listed != nil {
		for name := range d.have {
			if _, ok := listed[name]; !ok {
				s.drop(o.f, i, name)
			}
		}
	}
	d.listed, d.time = !d.again && !d.lost, before
	return nil
}

// list copies everything in new or cur.
func (s *snapshot) list(ctx context.Context, o *opened, i int, h *hold) (map[string]struct{}, error) {
	d := &o.f.dirs[i]
	var listed map[string]struct{} // only if some may be gone
	if len(d.have) > 0 {
		listed = make(map[string]struct{}, len(d.have))
	}
	seen := 0
	var failed error
	err := o.from[i].List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		if raw[0] == '.' {
			return true
		}
		name := string(raw)
		if listed != nil {
			listed[name] = struct{}{}
		}
		if _, ok := d.have[name]; !ok {
			_, failed = s.message(o, i, name, kind)
		} else {
			delete(s.dropped, derived{o.f, i, name})
		}
		if seen++; seen%64 == 0 && failed == nil {
			failed = s.giveWay(ctx, h)
		}
		return failed == nil
	})
	if h == nil && err == nil && failed == nil {
		failed = s.drain(ctx)
	}
	return listed, errors.Join(err, failed)
}

// captureNews copies what was added to new or cur since, and drops what was removed.
func (s *snapshot) captureNews(ctx context.Context, o *opened, i int, h *hold) (err error) {
	d := &o.f.dirs[i]
	defer func() {
		if err != nil { // what is left of the news is not known any more
			d.listed = false
		}
	}()
	news := d.news
	d.news, d.again = nil, false
	done := 0
	for name, came := range news {
		_, have := d.have[name]
		if came && have {
			removed, err := s.outdated(o, i, name)
			if err != nil {
				return err
			}
			have = !removed
		}
		switch {
		case came && !have:
			found, err := s.message(o, i, name, dirfd.KindUnknown)
			if err != nil {
				return err
			}
			if !found {
				s.derived = append(s.derived, derived{o.f, i, name})
				o.f.fresh = append(o.f.fresh, name)
			}
		case came:
			delete(s.dropped, derived{o.f, i, name})
		case have:
			s.drop(o.f, i, name)
		}
		if done++; done%64 == 0 {
			if err := s.giveWay(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// rewritten has files that were written to copied again.
func (s *snapshot) rewritten(o *opened, i int) error {
	d := &o.f.dirs[i]
	for name := range d.written {
		_, have := d.have[name]
		if came, known := d.news[name]; !have || known && !came {
			continue
		}
		if removed, err := s.outdated(o, i, name); err != nil {
			return err
		} else if !removed {
			continue
		}
		if d.news == nil {
			d.news = map[string]bool{}
		}
		d.news[name] = true
	}
	d.written = nil
	return nil
}

// outdated removes a message from the copy if its name is that of another file by now, or of a
// later state of the same one, and reports whether it did.
func (s *snapshot) outdated(o *opened, i int, name string) (bool, error) {
	now, err := o.from[i].Lstat(name)
	if err != nil {
		return false, ignoreGone(err) // what it was at that moment is not to be had any more
	}
	copied, err := o.to[i].Lstat(name)
	if err != nil || now.ID() == copied.ID() || now.Size == copied.Size && now.Mtime.Equal(copied.Mtime) {
		return false, err
	}
	delete(o.f.dirs[i].have, name)
	delete(s.dropped, derived{o.f, i, name})
	return true, o.to[i].Remove(name)
}

// giveWay is called regularly during long work.
func (s *snapshot) giveWay(ctx context.Context, h *hold) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if h == nil {
		// The event queue is limited.
		if err := s.events.drain(); err != nil {
			return err
		}
		return s.drainIfMany(ctx)
	}
	return h.tick(ctx)
}

// settledTime returns a directory's modification time. sharp means that every later change
// leaves a different time, because the clock from which the kernel takes file times has
// advanced since. With wait, it waits for that moment, which is at most one tick away (10
// ms in the worst case). On file systems that store only whole seconds, times become sharp
// after a few seconds.
func settledTime(d *dirfd.Dir, wait bool) (t time.Time, sharp bool, err error) {
	const longest = 15 * time.Millisecond
	start := time.Now()
	for {
		st, err := d.Stat()
		if err != nil {
			return time.Time{}, false, err
		}
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
			return time.Time{}, false, fmt.Errorf("read the clock: %w", err)
		}
		now := time.Unix(ts.Unix())
		if st.Mtime.Nanosecond() == 0 {
			now = now.Add(-dirfd.CoarseGrain)
		}
		// A time in the future (the clock was set back) will not occur again.
		if sharp = now.After(st.Mtime) || st.Mtime.Sub(now) > 2*dirfd.CoarseGrain; sharp || !wait || time.Since(start) > longest {
			return st.Mtime, sharp, nil
		}
		time.Sleep(time.Millisecond)
	}
}
