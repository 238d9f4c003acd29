package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/contain"
)

// Options of New.
type Options struct {
	// Dir is the directory of the files, created when it is needed. If it is "", only sizes
	// and dates are kept, and only for the life of a Box.
	Dir string
	// MaxBytes limits the total size of all files; 0 means 4 GiB.
	MaxBytes int64
	Log      *slog.Logger
}

// defaultMaxBytes is enough for the headers of a million messages.
const defaultMaxBytes = 4 << 30

const (
	indexSuffix = ".index"
	dataSuffix  = ".data"
)

// Store is the cache of one process. It is safe for concurrent use.
type Store struct {
	dir string
	max int64
	log *slog.Logger

	mu      sync.Mutex
	logged  bool  // the log says that nothing can be kept
	written int64 // bytes since evict last checked all files
	// unremoved are the names of whole files that could not be removed.
	unremoved map[string]struct{}
	busy      chan struct{} // capacity 1: one job at a time in the background
	closed    chan struct{}
	jobs      sync.WaitGroup
}

// New returns a Store. It touches no file.
func New(opt Options) *Store {
	if opt.MaxBytes == 0 {
		opt.MaxBytes = defaultMaxBytes
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{max: opt.MaxBytes, log: opt.Log, busy: make(chan struct{}, 1), closed: make(chan struct{})}
	if opt.Dir != "" {
		s.dir = filepath.Join(opt.Dir, "messages") // other things may be kept in Dir
	}
	s.written = s.max // so that the first write checks what is there
	return s
}

// Close stops the background work and waits for it.
func (s *Store) Close() error {
	close(s.closed)
	s.jobs.Wait()
	return nil
}

// failed logs, once, that nothing can be kept. Mail is served all the same.
func (s *Store) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.logged {
		s.logged = true
		s.log.Warn("the message cache cannot be written, so reading mail is slower", "dir", s.dir, "error", err)
	}
}

// background runs a job unless the Store is closed. Jobs run one at a time, so that
// housekeeping does not slow down mail.
func (s *Store) background(job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
	}
	s.jobs.Go(func() {
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
			contain.Run(s.log, "panic in the message cache, which continues without that work", job)
		case <-s.closed:
		}
	})
}

// stopped reports whether a job has to end.
func (s *Store) stopped() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// wrote counts what was added, and starts evict from time to time.
func (s *Store) wrote(n int64) {
	s.mu.Lock()
	s.written += n
	look := s.written > s.max/64
	if look {
		s.written = 0
	}
	s.mu.Unlock()
	if look {
		s.background(s.evict)
	}
}

// evict removes the files that were not used for the longest time if all files together are
// too large.
func (s *Store) evict() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	type group struct { // files with the same name
		name  string
		bytes int64
		used  time.Time
	}
	found := map[string]*group{}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		name, _, _ := strings.Cut(e.Name(), ".")
		g := found[name]
		if g == nil {
			g = &group{name: name}
			found[name] = g
		}
		g.bytes += info.Size()
		total += info.Size()
		if info.ModTime().After(g.used) {
			g.used = info.ModTime()
		}
		if strings.HasSuffix(e.Name(), tempSuffix) && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(s.dir, e.Name())) // left by a process that died
		}
	}
	if total <= s.max {
		return
	}
	oldest := slices.SortedFunc(maps.Values(found), func(a, b *group) int { return a.used.Compare(b.used) })
	for _, g := range oldest {
		if total <= s.max/4*3 || s.stopped() {
			return
		}
		total -= g.bytes
		for _, suffix := range []string{indexSuffix, dataSuffix, wholeSuffix} {
			_ = os.Remove(filepath.Join(s.dir, g.name+suffix))
		}
	}
}

// openFile opens one file of the cache. It fails for anything but a regular file.
func (s *Store) openFile(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, name), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Name())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lock tries to acquire the lock for writing, without waiting; false means that somebody
// else holds it.
func lock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// roomy reports whether the file system has enough free space for a cache: mail comes
// first.
func roomy(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) != nil || st.Bavail > st.Blocks/20
}

// same reports whether name still leads to the open file.
func (s *Store) same(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(filepath.Join(s.dir, name))
	return err == nil && os.SameFile(a, b)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
