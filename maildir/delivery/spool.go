package delivery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Target is one recipient of a Spool: a folder, and the header that is put before the
// message there.
type Target struct {
	// Open opens the folder when the first byte has to be written to it; release closes the
	// directories.
	Open   func() (dirs Dirs, release func(), err error)
	Header []byte // lines end with LF
}

const (
	// spoolWorkers is how many files of one message are written and synced concurrently, so
	// that the file system's journal can commit them together.
	spoolWorkers = 8
)

// Spool takes one message for one or more folders. Each folder gets a file of its own. A
// Spool must be used by one goroutine at a time.
type Spool struct {
	opt     *Options
	each    bool
	targets []*target
	groups  [][]*target // see Group

	// memory has the header of targets[0] and the body or, once a file was started, the part
	// of the body that is not in the file yet.
	memory
	inFile    bool // a file was started
	first     *target
	held      *Temp // the file, from Commit on
	body      counter
	firstByte byte             // first byte of the body, if body.size > 0
	full      map[uint64]error // by device: full file systems
	last      func() error     // of CommitAfter
	err       error
}

// target is a Target with its open files.
type target struct {
	Target
	dirs    Dirs
	release func()
	temp    *Temp
	plain   *Temp  // the former temp with the text for the other targets, if files are compressed
	name    string // in new/, as long as it may have to be removed again
	groups  int    // number of groups it is in
	shared  bool   // it is in a group with others
	err     error
}

// NewSpool starts a message for the targets, of which there is at least one. With each,
// every target succeeds or fails by itself (LMTP), or with its Group; without, all get the
// message or none does (SMTP).
func NewSpool(targets []Target, each bool, o *Options) *Spool {
	s := &Spool{opt: o, each: each, targets: make([]*target, len(targets))}
	for i, t := range targets {
		s.targets[i] = &target{Target: t}
	}
	s.memory = newMemory(&o.wholes, targets[0].Header)
	return s
}

// Size returns the number of bytes of the message written so far, without the targets'
// headers.
func (s *Spool) Size() int64 { return s.body.size }

// Write adds a piece of the message in the form in which it is stored.
func (s *Spool) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		space := s.space()
		if s.err != nil {
			return n, s.err
		}
		k := copy(space, p[n:])
		s.advance(k)
		n += k
	}
	return len(p), s.err
}

// space returns buffer space for more of the message, making some if there is none.
func (s *Spool) space() []byte {
	if s.err == nil && len(s.buf) == cap(s.buf) {
		if !s.grow() {
			s.err = s.flush()
		}
	}
	return s.buf[len(s.buf):cap(s.buf)]
}

func (s *Spool) advance(n int) {
	if n == 0 {
		return
	}
	p := s.buf[len(s.buf) : len(s.buf)+n]
	if s.body.size == 0 {
		s.firstByte = p[0]
	}
	s.body.count(p)
	s.buf = s.buf[:len(s.buf)+n]
}

// flush writes buf to a file in the first folder that accepts it.
func (s *Spool) flush() error {
	if !s.inFile {
		return s.begin(s.buf[len(s.targets[0].Header):])
	}
	_, err := s.first.temp.put(s.buf)
	if err == nil {
		s.buf = s.buf[:0]
		return nil
	}
	s.fail(s.first, err)
	if !s.each {
		s.first.abort()
		return err
	}
	return s.begin(s.buf)
}

// begin starts the file of the next target that can have one, with the contents of an
// earlier target's file, if there is one, followed by rest.
func (s *Spool) begin(rest []byte) error {
	from := s.first
	if from != nil {
		defer from.abort() // its file is kept until the next one has its contents
	}
	held := s.body.size - int64(len(rest))
	for _, t := range s.targets {
		if t.err != nil || s.onFullDisk(t) {
			continue
		}
		err := t.open(s.opt, newPlainTemp)
		if err == nil && from != nil {
			err = copyRange(t.temp, from.temp, int64(len(from.Header)), held)
		}
		if err == nil {
			_, err = t.temp.put(rest)
		}
		if err == nil {
			s.first, s.inFile, s.buf = t, true, s.buf[:0]
			return nil
		}
		s.fail(t, err)
		t.abort()
		if !s.each {
			return err
		}
	}
	return errNoTarget
}

// errNoTarget means that no target can have the message; each has its own error.
var errNoTarget = errors.New("no folder takes the message")

// fail sets a target's error, and remembers a full file system: it is full for all targets
// on it, while a quota concerns only one user.
func (s *Spool) fail(t *target, err error) {
	t.fail(err)
	if CauseOf(err) != NoSpace || t.dirs.Tmp == nil {
		return
	}
	if st, serr := t.dirs.Tmp.Stat(); serr == nil {
		if s.full == nil {
			s.full = map[uint64]error{}
		}
		s.full[st.Dev] = err
	}
}

// onFullDisk reports whether a target is on a file system that was found full, and if so,
// fails it.
func (s *Spool) onFullDisk(t *target) bool {
	if s.full == nil {
		return false
	}
	if t.dirs.Tmp == nil && t.openDirs() != nil {
		return true
	}
	st, err := t.dirs.Tmp.Stat()
	if err == nil {
		err = s.full[st.Dev]
	}
	if err == nil {
		return false
	}
	t.fail(err)
	t.abort()
	return true
}

// open opens the target's folder and starts its file with the header.
func (t *target) open(o *Options, begin func(Dirs, *Options) (*Temp, error)) error {
	if t.dirs.Tmp == nil {
		if err := t.openDirs(); err != nil {
			return err
		}
	}
	var err error
	if t.temp, err = begin(t.dirs, o); err != nil {
		return err
	}
	_, err = t.temp.Write(t.Header)
	return err
}

func (t *target) openDirs() (err error) {
	t.dirs, t.release, err = t.Open()
	if err != nil {
		t.dirs, t.release = Dirs{}, nil
		t.fail(err)
	}
	return err
}

func (t *target) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// abort removes what is left in tmp/ and releases the folder.
func (t *target) abort() {
	if t.temp != nil {
		t.temp.Abort()
	}
	if t.plain != nil {
		t.plain.Abort()
	}
	t.close()
}

func (t *target) close() {
	if t.release != nil {
		t.release()
		t.release, t.dirs = nil, Dirs{}
	}
}

// copyRange appends n bytes of the file old, from offset on, to t. They are not counted.
func copyRange(t, old *Temp, offset, n int64) error {
	if n <= 0 {
		return nil
	}
	var to io.Writer = fileWriter{t}
	if t.pack != nil {
		to = t.pack
	}
	got, err := io.Copy(to, io.NewSectionReader(old.file, offset, n))
	if err == nil && got != n {
		err = fmt.Errorf("%s has %d bytes less than were written: another program changed it", old.file.Name(), n-got)
	}
	return err
}

// Abort discards what was not committed and closes everything. It does nothing after
// Commit.
func (s *Spool) Abort() {
	s.release()
	s.giveBack()
	s.body = counter{}
	if s.err == nil {
		s.err = fs.ErrClosed
	}
}

func (s *Spool) release() {
	for _, t := range s.targets {
		t.abort()
	}
}
