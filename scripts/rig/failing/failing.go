// Package failing makes system calls fail that tests make through package dirfd, and knows
// which of their effects are durable.
package failing

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Reasons are the errors of failing calls.
var Reasons = []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.EACCES, syscall.EROFS, syscall.ESTALE}

// Calls observes the system calls on the directories whose Before is Calls.Before. It is
// safe for concurrent use.
type Calls struct {
	mu      sync.Mutex
	on      bool
	first   int
	lasting bool
	err     error
	n       int
	log     []string
	failed  []string

	// Inodes by the path of the directory and the name. An entry is lost if the fsync that
	// should have made it durable failed: the kernel may regard it as written, so another
	// fsync does not help.
	durable, lost map[string]map[string]uint64
}

// New returns Calls that regard the contents of the given directories, and of those
// below them, as durable.
func New(path ...string) *Calls {
	c := &Calls{durable: map[string]map[string]uint64{}, lost: map[string]map[string]uint64{}}
	for _, p := range path {
		_ = filepath.WalkDir(p, func(dir string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				c.durable[dir] = inodes(dir)
			}
			return nil
		})
	}
	return c
}

// Begin makes the call with number first fail, counted from here and from 0, and if lasting,
// all calls after it. No call has a negative number.
func (c *Calls) Begin(first int, lasting bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on, c.first, c.lasting, c.err = true, first, lasting, err
	c.n, c.log, c.failed = 0, nil, nil
}

// End lets all calls succeed again. It returns the number of calls since Begin,
// and those that failed.
func (c *Calls) End() (n int, failed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	return c.n, c.failed
}

// Log returns the calls between Begin and End, one per line.
func (c *Calls) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.log, "\n")
}

// Before is meant for dirfd.Dir.Before.
func (c *Calls) Before(op, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fails := c.on && (c.n == c.first || c.lasting && c.n > c.first)
	if c.on {
		c.n++
		c.log = append(c.log, op+" "+path)
	}
	c.forget()
	if op == "sync" {
		c.sync(path, fails)
	}
	if !fails {
		return nil
	}
	c.failed = append(c.failed, op+" "+path)
	return c.err
}

// forget drops lost entries that no longer exist: an inode that later gets the
// name is written again.
func (c *Calls) forget() {
	for dir, lost := range c.lost {
		now := inodes(dir)
		for name, ino := range lost {
			if now[name] != ino {
				delete(lost, name)
			}
		}
		if len(lost) == 0 {
			delete(c.lost, dir)
		}
	}
}

func (c *Calls) sync(dir string, fails bool) {
	now := inodes(dir)
	if fails {
		for name, ino := range c.durable[dir] {
			if now[name] == ino {
				delete(now, name)
			}
		}
		c.lost[dir] = now
		return
	}
	for name, ino := range c.lost[dir] {
		if now[name] == ino {
			delete(now, name)
		}
	}
	c.durable[dir] = now
}

// Missing returns the names in a directory that begin with a prefix and that a
// power cut might remove.
func (c *Calls) Missing(dir, prefix string) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, ino := range inodes(dir) {
		if strings.HasPrefix(name, prefix) && c.durable[dir][name] != ino {
			names = append(names, filepath.Base(dir)+"/"+name)
		}
	}
	return names
}

func inodes(dir string) map[string]uint64 {
	out := map[string]uint64{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			out[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
		}
	}
	return out
}

// Dir returns an empty directory for a test, in memory if possible, where thousands of
// fsyncs take no time.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "maildird-faults-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
