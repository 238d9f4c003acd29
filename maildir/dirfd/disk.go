package dirfd

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNoAnswer means that as many system calls as may wait for the disk at the same time have been
// waiting for long. It is temporary: when the disk responds again, so does the program.
var ErrNoAnswer = errors.New("the disk does not respond")

const (
	// mostInside is how many system calls on files of one file system may be in progress at the same
	// time: more than a disk makes use of, and the 128 that deliveries may occupy leave some to
	// everything else.
	mostInside = 192
	// mostInAll bounds those of all file systems together, and none gets more than this part of what
	// the others have left: however many do not respond, there is something left for one that does.
	// Each may always have one, so that there can be as many more as there are file systems.
	mostInAll, partOfRest = 2048, 8
)

// inAll is the number of system calls in progress on all disks.
var inAll atomic.Int64

// Patience is how long a call waits for a place, without any call returning, before the disk counts
// as one that does not respond.
const Patience = 10 * time.Second

// Places limits how many system calls wait for a disk. Each occupies a thread meanwhile, and a
// program that cannot have another thread is ended by Go: without a limit, a disk or a server of
// network files that stands still would end it as soon as enough clients use what is there. Each
// file system has places of its own, so that users on other ones notice nothing, but there is a
// limit for all together, as there may be a file system for each user.
//
// Whoever finds no place waits without a thread. A call that begins something fails when the disk
// does not respond, so that clients get an answer and their connections do not pile up; a call that
// finishes something, such as a rename or an fsync, waits, since it is not known what is the case
// if it is left out. The nil *Places has no limit. All methods may be called concurrently.
type Places struct {
	dev  uint64 // the file system, for those of package dirfd
	most int
	all  *atomic.Int64 // calls in progress on all disks; nil if only most counts
	free chan struct{} // places that were given to those who wait

	mu       sync.Mutex
	inside   int    // calls in progress
	waiting  int    // calls that wait and were given no place yet
	returned uint64 // calls, ever
	stuck    bool   // somebody waited too long, and no call has returned since
}

// NewPlaces returns this many places.
func NewPlaces(most int) *Places { return &Places{most: most, free: make(chan struct{}, most)} }

// newDisk returns the places of the file system with a device number.
func newDisk(dev uint64) *Places {
	k := NewPlaces(mostInside)
	k.dev, k.all = dev, &inAll
	return k
}

// take takes a place if there is one. k.mu must be held.
func (k *Places) take() bool {
	most := k.most
	if k.all != nil {
		most = min(most, max(1, int(mostInAll-k.all.Load())/partOfRest))
	}
	if k.inside >= most {
		return false
	}
	k.inside++
	if k.all != nil {
		k.all.Add(1)
	}
	return true
}

// give gives places to those who wait: several, if other disks left some. k.mu must be held.
func (k *Places) give() {
	for k.waiting > 0 && k.take() {
		k.waiting--
		k.free <- struct{}{} // never full: no more are inside
	}
}

// enter is take. If there is a place, there may be some for those who wait too, although no call
// has returned: other disks left them. k.mu must be held.
func (k *Places) enter() bool {
	if !k.take() {
		return false
	}
	k.give()
	return true
}

// Begin takes a place for a call that begins something. After an error, which is ErrNoAnswer, there is
// none.
func (k *Places) Begin() error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	entered, stuck, returned := k.enter(), k.stuck, k.returned
	if !entered && !stuck {
		k.waiting++
	}
	k.mu.Unlock()
	switch {
	case entered:
		return nil
	case stuck:
		return ErrNoAnswer
	}
	t := time.NewTimer(Patience)
	defer t.Stop()
	for {
		select {
		case <-k.free:
			return nil
		case <-t.C:
		}
		k.mu.Lock()
		k.give()
		responds := k.returned != returned // it is slow, but it responds
		given := k.waiting == 0            // the place is on its way
		returned = k.returned
		if !responds && !given {
			k.waiting--
			k.stuck = true
		}
		k.mu.Unlock()
		if !responds && !given {
			return ErrNoAnswer
		}
		t.Reset(Patience)
	}
}

// Finish takes a place for a call that finishes something.
func (k *Places) Finish() {
	if k == nil {
		return
	}
	k.mu.Lock()
	entered := k.enter()
	if !entered {
		k.waiting++
	}
	k.mu.Unlock()
	if !entered {
		<-k.free
	}
}

// Leave gives the place back.
func (k *Places) Leave() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.inside--
	if k.all != nil {
		k.all.Add(-1)
	}
	k.returned++
	k.stuck = false
	k.give()
}

// Stuck reports whether calls on the directory would return ErrNoAnswer.
func (d *Dir) Stuck() bool {
	k := d.disk
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stuck
}
