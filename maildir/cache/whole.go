package cache

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Besides the pairs, there are files that are always replaced as a whole, under names
// chosen by their owners. Nobody writes to such a file in place.

const wholeSuffix = ".whole"

// errNoRoom means that the cache must not use disk space now.
var errNoRoom = errors.New("no room for the cache")

// Keeps reports whether the Store keeps files.
func (s *Store) Keeps() bool { return s.dir != "" }

// maxUnremoved limits how many names are remembered of files that could not be removed.
const maxUnremoved = 1 << 16

// errUnremoved means that a file was to be removed and is still there.
var errUnremoved = errors.New("it cannot be removed, and not used")

// OpenWhole opens the file with this name, which consists of letters and digits, for
// reading.
func (s *Store) OpenWhole(name string) (*os.File, error) {
	s.mu.Lock()
	_, unremoved := s.unremoved[name]
	s.mu.Unlock()
	if unremoved {
		return nil, errUnremoved
	}
	return s.openFile(name+wholeSuffix, os.O_RDONLY)
}

// ReplaceWhole replaces the file with that name by what write writes, and sets its
// modification time to mtime. Nothing is synced: after a power failure the file may be
// incomplete. The first failure is logged, and each is returned.
func (s *Store) ReplaceWhole(name string, mtime time.Time, write func(*os.File) error) error {
	n, err := s.replaceWhole(name, mtime, write)
	switch {
	case err == nil:
		s.mu.Lock()
		delete(s.unremoved, name)
		s.mu.Unlock()
		s.wrote(n)
	case !errors.Is(err, errNoRoom):
		s.failed(err)
	}
	return err
}

func (s *Store) replaceWhole(name string, mtime time.Time, write func(*os.File) error) (n int64, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return 0, err
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	f, err := s.openFile(name+"."+hex.EncodeToString(random[:])+wholeSuffix+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if !roomy(f) {
		return 0, errNoRoom
	}
	if err = write(f); err == nil {
		n, err = size(f)
	}
	if err == nil {
		err = os.Chtimes(f.Name(), mtime, mtime)
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, name+wholeSuffix))
	}
	return n, err
}

// RemoveWhole removes the file with that name, if there is one. If that fails, as on a file
// system that has become read-only, the file is not opened any more until it is replaced: it
// may be one that cannot be read to its end.
func (s *Store) RemoveWhole(name string) {
	err := os.Remove(filepath.Join(s.dir, name+wholeSuffix))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unremoved == nil || len(s.unremoved) == maxUnremoved {
		s.unremoved = map[string]struct{}{}
	}
	s.unremoved[name] = struct{}{}
}
