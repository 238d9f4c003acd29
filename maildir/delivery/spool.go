package delivery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Target is one recipient of a Spool: a folder, and what stands before the
// message there.
type Target struct {
	// Open opens the folder when the first byte has to be written to it;
	// release gives the directories back.
	Open   func() (dirs Dirs, release func(), err error)
	Header []byte // lines ended by LF
}

const (
	// spoolMemory is how much of a message is held in memory. A message that
	// is no longer is written at once, when it is complete.
	spoolMemory = 64 << 10
	spoolFirst  = 8 << 10 // of them at first, which most messages fit into
	// spoolWorkers is how many files of one message are written and synced at
	// the same time, so that the file system's journal can take them together.
	spoolWorkers = 8
)

// The memory of messages goes from one to the next: left to the garbage
// collector it would be most of what a delivery leaves. The pools belong to no
// Options, as nothing that counts is kept in them: what a message is comes from
// buf's length, and the runtime drops a pool's memory whenever it wants.
var firstMemory, wholeMemory = memoryOf(spoolFirst), memoryOf(spoolMemory)

func memoryOf(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// Spool takes one message for one or more folders. Each folder gets a file of
// its own. For one goroutine.
type Spool struct {
	opt     *Options
	each    bool
	targets []*target
	groups  [][]*target // see Group

	buf    []byte     // header of targets[0] and body, or the part of the body that is not in the file yet
	mem    *[]byte    // what buf lies in; nil after Abort
	pool   *sync.Pool // that mem goes back to
	inFile bool       // a file has been begun and buf holds no header
	first  *target
	held   *Temp // the file, since Commit
	body   counter
	led    byte             // first byte of the body, if body.size > 0
	full   map[uint64]error // by device: disks without space
	last   func() error     // of CommitAfter
	err    error
}

// target is a Target with what is open and was made for it.
type target struct {
	Target
	dirs    Dirs
	release func()
	temp    *Temp
	plain   *Temp  // what temp was while it held the text for others, if files are compressed
	name    string // in new/, while undo may have to remove it
	groups  int    // that it is in
	shared  bool   // one of them with others
	err     error
}

// NewSpool begins a message for the targets, of which there is at least one.
// With each, every target succeeds or fails by itself (LMTP), or with its Group;
// without, all get the message or none does (SMTP).
func NewSpool(targets []Target, each bool, o *Options) *Spool {
	s := &Spool{opt: o, each: each, targets: make([]*target, len(targets))}
	for i, t := range targets {
		s.targets[i] = &target{Target: t}
	}
	s.move(firstMemory, targets[0].Header)
	return s
}

// Size returns the bytes of the message written so far, without any header of
// the targets.
func (s *Spool) Size() int64 { return s.body.size }

// Write takes a piece of the message as it shall stand on disk.
func (s *Spool) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		space := s.space()
		if s.err != nil {
			return n, s.err
		}
		k := copy(space, p[n:])
		s.took(k)
		n += k
	}
	return len(p), s.err
}

// space returns room for more of the message, and makes some if there is none.
func (s *Spool) space() []byte {
	if s.err == nil && len(s.buf) == cap(s.buf) {
		if cap(s.buf) < spoolMemory {
			s.move(wholeMemory, s.buf)
		} else {
			s.err = s.flush()
		}
	}
	return s.buf[len(s.buf):cap(s.buf)]
}

// move takes memory from the pool for what buf holds, and gives back what buf had.
func (s *Spool) move(pool *sync.Pool, buf []byte) {
	mem := pool.Get().(*[]byte)
	buf = append((*mem)[:0], buf...)
	s.giveBack()
	s.buf, s.mem, s.pool = buf, mem, pool
}

func (s *Spool) giveBack() {
	if s.mem != nil {
		s.pool.Put(s.mem)
	}
	s.buf, s.mem = nil, nil
}

func (s *Spool) took(n int) {
	if n == 0 {
		return
	}
	p := s.buf[len(s.buf) : len(s.buf)+n]
	if s.body.size == 0 {
		s.led = p[0]
	}
	s.body.count(p)
	s.buf = s.buf[:len(s.buf)+n]
}

// flush empties buf into a file in the first folder that takes it.
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

// begin starts the file of the next target that can have one: with what an
// earlier target's file holds already, if there is one, and with rest.
func (s *Spool) begin(rest []byte) error {
	from := s.first
	if from != nil {
		defer from.abort() // its file stays until the next has what is in it
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

// errNoTarget says that no target can have the message; each has its own error.
var errNoTarget = errors.New("no folder takes the message")

// fail gives a target its error and remembers a disk that is full: it is full
// for all who live on it, while a quota is one user's own.
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

// onFullDisk fails a target on a disk that was found full.
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

// open opens the target's folder and begins its file with the header.
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

// abort removes what is left in tmp/ and gives the folder back.
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

// copyRange appends n bytes of the file old, from offset on, to t. They are
// not counted.
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

// Abort gives up what is not committed and closes everything. After Commit it
// does nothing.
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
