package delivery

import (
	"io/fs"
	"sync"
	"time"

	"maildird/maildir/dirfd"
)

// mostWaiting is how many system calls of deliveries may wait for one disk at the same time. A
// file system commits at once what that many ask for, so that more would not make it faster.
const mostWaiting = 64

// places limits how many system calls wait for a disk. Each occupies a thread meanwhile, and a
// program that cannot have another thread is ended by Go: while a disk is slow, a few hundred
// clients could otherwise end it. Everybody else waits without a thread. Each file system has
// places of its own, so that one that stands still, as a network file system may, stops no
// deliveries to others. The zero value is ready for use. A places is safe for concurrent use.
type places struct {
	mu   sync.Mutex
	free map[uint64]chan struct{} // by device number; full if all places are taken
}

// with calls f, which must do nothing but make system calls for files in d's file system, once
// there is a place for it.
func (p *places) with(d *dirfd.Dir, f func() error) error {
	free := p.at(d)
	free <- struct{}{}
	defer func() { <-free }()
	return f()
}

// begin is with for the first step of a delivery. It returns dirfd.ErrNoAnswer if there is no
// place for long: the client gets an answer, and nothing has to be undone.
func (p *places) begin(d *dirfd.Dir, f func() error) error {
	free := p.at(d)
	select {
	case free <- struct{}{}:
	default:
		t := time.NewTimer(dirfd.Patience)
		defer t.Stop()
		select {
		case free <- struct{}{}:
		case <-t.C:
			return &fs.PathError{Op: "create a file", Path: d.Path(), Err: dirfd.ErrNoAnswer}
		}
	}
	defer func() { <-free }()
	return f()
}

func (p *places) at(d *dirfd.Dir) chan struct{} {
	id, _ := d.ID() // f must be called whatever fails: it may have to remove a message
	return p.of(id.Dev)
}

func (p *places) of(device uint64) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.free[device]
	if c == nil {
		if p.free == nil {
			p.free = map[uint64]chan struct{}{}
		}
		c = make(chan struct{}, mostWaiting)
		p.free[device] = c
	}
	return c
}
