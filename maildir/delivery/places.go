package delivery

import (
	"io/fs"
	"sync"

	"maildird/maildir/dirfd"
)

// mostWaiting is how many system calls of deliveries may wait for one disk at the same time. A
// file system commits at once what that many ask for, so that more would not make it faster.
const mostWaiting = 64

// places leaves some of the places that dirfd has for the calls on a disk to everything else, when
// many deliveries wait for it. The zero value is ready for use, and safe for concurrent use.
type places struct {
	mu sync.Mutex
	of map[uint64]*dirfd.Places // by device number
}

// with calls f, which must do nothing but make system calls for files in d's file system, once
// there is a place for it.
func (p *places) with(d *dirfd.Dir, f func() error) error {
	k := p.at(d)
	k.Finish()
	defer k.Leave()
	return f()
}

// begin is with for the first step of a delivery. It returns dirfd.ErrNoAnswer if the disk does not
// respond: the client gets an answer, and nothing has to be undone.
func (p *places) begin(d *dirfd.Dir, f func() error) error {
	k := p.at(d)
	if err := k.Begin(); err != nil {
		return &fs.PathError{Op: "create a file", Path: d.Path(), Err: err}
	}
	defer k.Leave()
	return f()
}

func (p *places) at(d *dirfd.Dir) *dirfd.Places {
	id, _ := d.ID() // f must be called whatever fails: it may have to remove a message
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.of[id.Dev]
	if k == nil {
		if p.of == nil {
			p.of = map[uint64]*dirfd.Places{}
		}
		k = dirfd.NewPlaces(mostWaiting)
		p.of[id.Dev] = k
	}
	return k
}
