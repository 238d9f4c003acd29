package delivery

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/contain"
	"maildird/maildir/maildirsize"
)

// Commit puts the message into new/ of all targets, durable on return. The errors are in
// the order of the targets. Unless the Spool was made with each, either all are nil, or all
// are the same and nothing is left in any folder; with several targets it may be a TargetError.
func (s *Spool) Commit() []error { return s.CommitAfter(nil) }

// CommitAfter is Commit for a message that somebody else has to accept too. It must not be
// used with each. last is called when the files are complete and durable in tmp/, before
// any has a name in new/: little can go wrong after that. If last returns an error, all
// targets get that error, and nothing is left in any folder. last is not called if there is
// an error already.
func (s *Spool) CommitAfter(last func() error) []error {
	defer s.Abort()
	s.last = last
	if s.inFile {
		s.held = s.first.temp
		if s.opt.Compress != compress.None {
			s.first.plain, s.first.temp = s.held, nil
		}
	}
	switch {
	case s.err != nil:
	case len(s.targets) == 1:
		s.targets[0].deliver(s)
	default:
		s.commitMany()
	}
	errs := make([]error, len(s.targets))
	for i, t := range s.targets {
		errs[i] = t.err
		if t.err == nil {
			errs[i] = s.err
		}
	}
	return errs
}

// commitMany is for several recipients. Unless each has a result of its own, all get the
// message or none does: every step is done for all of them before the next one starts.
func (s *Spool) commitMany() {
	if len(s.targets) > spoolWide {
		room := &s.opt.wide
		if s.last != nil {
			room = &s.opt.wideLast
		}
		defer room.enter(len(s.targets))()
		defer s.release() // before others enter the room
	}
	if s.each && s.groups != nil {
		s.commitGroups()
		return
	}
	if s.each {
		s.parallel(func(t *target) {
			t.deliver(s)
			if t != s.first { // the others read its file
				t.abort()
			}
		})
		return
	}
	s.parallel(func(t *target) { t.write(s) })
	if !s.failed() && s.last != nil {
		s.targets[0].fail(s.last())
	}
	if s.failed() {
		return
	}
	for _, t := range s.targets {
		if t.link(); t.err != nil {
			break
		}
	}
	if !s.failed() {
		s.parallel(func(t *target) { t.sync(s.opt) })
	}
	if s.failed() {
		s.parallel(func(t *target) { t.unlink(s.opt) })
		return
	}
	for _, t := range s.targets {
		t.count()
	}
}

// TargetError is the error of one target that became the error of all.
type TargetError struct {
	Target int // its index
	Err    error
}

func (e *TargetError) Error() string { return e.Err.Error() }
func (e *TargetError) Unwrap() error { return e.Err }

// failed reports whether a target has an error, which then becomes the error of all.
func (s *Spool) failed() bool {
	if s.err != nil {
		return true
	}
	for i, t := range s.targets {
		if t.err != nil {
			s.err = &TargetError{i, t.err}
			for _, other := range s.targets {
				other.err = s.err
			}
			return true
		}
	}
	return false
}

// parallel runs f for all targets that have no error, or a file to remove, for a limited
// number of them at a time.
func (s *Spool) parallel(f func(*target)) {
	room := make(chan struct{}, spoolWorkers)
	var running contain.Group
	for _, t := range s.targets {
		if t.err != nil && t.name == "" {
			continue
		}
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			f(t)
		})
	}
	running.Wait()
}

// deliver does all steps for one target.
func (t *target) deliver(s *Spool) {
	if t.write(s); t.err != nil {
		return
	}
	t.room(s)
	if t.err == nil && s.last != nil {
		t.fail(s.last())
	}
	if t.err != nil {
		return
	}
	if t.link(); t.err != nil {
		return
	}
	if t.sync(s.opt); t.err != nil {
		t.unlink(s.opt)
		return
	}
	t.count()
}

// room checks whether the quota has room for the message.
func (t *target) room(s *Spool) {
	if t.dirs.Room != nil {
		t.fail(t.dirs.Room(s.body.size + int64(len(t.Header))))
	}
}

// write makes the target's file complete and durable in tmp/.
func (t *target) write(s *Spool) {
	t.fail(t.tryWrite(s))
}

func (t *target) tryWrite(s *Spool) error {
	switch {
	case t == s.first && s.opt.Compress == compress.None:
		if _, err := t.temp.put(s.buf); err != nil {
			return err
		}
	case s.inFile:
		if err := t.open(s.opt, NewTemp); err != nil {
			return err
		}
		held := s.body.size - int64(len(s.buf))
		if err := copyRange(t.temp, s.held, int64(len(s.first.Header)), held); err != nil {
			return err
		}
		if _, err := t.temp.put(s.buf); err != nil {
			return err
		}
	default:
		if err := t.writeSmall(s); err != nil {
			return err
		}
	}
	t.temp.add(s.body, s.firstByte == '\n')
	if _, err := t.temp.finish(time.Time{}, t == s.first); err != nil {
		return err
	}
	return t.dirs.Reserved(s.opt.Reserve, 0) // now that its size is known
}

// writeSmall writes header and body, which are in memory, in one write.
func (t *target) writeSmall(s *Spool) error {
	if t.dirs.Tmp == nil {
		if err := t.openDirs(); err != nil {
			return err
		}
	}
	var err error
	if t.temp, err = NewTemp(t.dirs, s.opt); err != nil {
		return err
	}
	all := s.buf
	if t != s.targets[0] {
		body := s.buf[len(s.targets[0].Header):]
		all = append(append(make([]byte, 0, len(t.Header)+len(body)), t.Header...), body...)
	}
	if _, err = t.temp.put(all); err != nil {
		return err
	}
	t.temp.count(t.Header)
	return nil
}

// link gives the file its name in new/.
func (t *target) link() {
	name, err := t.temp.Commit(t.dirs.New, "")
	if err != nil {
		t.fail(err)
		return
	}
	t.name = name
}

// sync makes the name durable.
func (t *target) sync(o *Options) {
	if !o.Fsync {
		return
	}
	if err := o.syncs.sync(t.dirs.New); err != nil {
		t.fail(err)
	}
}

// count adds the message to the Maildir's maildirsize, if the folder is the root and has
// one. An error does not matter, since the message is stored: programs that use the sum
// recalculate it from time to time.
func (t *target) count() {
	if maildirsize.Kept(t.dirs.Folder) {
		_ = maildirsize.Add(t.dirs.Folder, maildirsize.Size(t.dirs.New, t.name), 1)
	}
}

// unlink removes the file from new/ again. A file that somebody already moved is left
// alone: it is mail like any other then, and will be delivered twice.
func (t *target) unlink(o *Options) {
	if t.name == "" {
		return
	}
	err := o.disk.with(t.dirs.New, func() error { return t.dirs.New.Remove(t.name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.err = fmt.Errorf("%w (and taking the message back failed: %w)", t.err, err)
		return
	}
	t.name = ""
	if o.Fsync {
		_ = o.disk.with(t.dirs.New, t.dirs.New.Sync)
	}
}
