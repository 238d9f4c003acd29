package dirfd

import (
	"errors"
	"sync/atomic"
	"time"
)

// ErrNoAnswer means that as many system calls as may wait for the disk at the same time have been
// waiting for long. It is temporary: when the disk responds again, so does the program.
var ErrNoAnswer = errors.New("the disk does not respond")

// mostInside is how many system calls on files of one file system may be in progress at the same
// time: more than a disk makes use of, and the 128 that deliveries may occupy leave some to
// everything else.
const mostInside = 192

// Patience is how long a call waits for a place, without any coming free, before the disk counts as
// one that does not respond.
const Patience = 10 * time.Second

// Places limits how many system calls wait for a disk. Each occupies a thread meanwhile, and a
// program that cannot have another thread is ended by Go: without a limit, a disk or a server of
// network files that stands still would end it as soon as enough clients use what is there. Each
// file system has places of its own, so that users on other ones notice nothing.
//
// Whoever finds no place waits without a thread. A call that begins something fails when the disk
// does not respond, so that clients get an answer and their connections do not pile up; a call that
// finishes something, such as a rename or an fsync, waits, since it is not known what is the case
// if it is left out. The nil *Places has no limit. All methods may be called concurrently.
type Places struct {
	dev    uint64 // the file system, for those of package dirfd
	most   int64
	inside atomic.Int64  // calls in progress, and those that wait for a place
	free   chan struct{} // places that became free, for those who wait
	passed atomic.Uint64 // places given to those who waited, ever
	stuck  atomic.Bool   // somebody waited too long, and no call has returned since
}

// NewPlaces returns this many places.
func NewPlaces(most int) *Places {
	return &Places{most: int64(most), free: make(chan struct{}, most)}
}

// newDisk returns the places of the file system with a device number.
func newDisk(dev uint64) *Places {
	k := NewPlaces(mostInside)
	k.dev = dev
	return k
}

// Begin takes a place for a call that begins something. After an error, which is ErrNoAnswer, there is
// none.
func (k *Places) Begin() error {
	if k == nil || k.inside.Add(1) <= k.most {
		return nil
	}
	if k.stuck.Load() && k.withdraw() {
		return ErrNoAnswer
	}
	t := time.NewTimer(Patience)
	defer t.Stop()
	for {
		passed := k.passed.Load()
		select {
		case <-k.free:
			return nil
		case <-t.C:
		}
		if k.passed.Load() != passed { // it is slow, but it responds
			t.Reset(Patience)
			continue
		}
		if k.withdraw() {
			k.stuck.Store(true)
			return ErrNoAnswer
		}
		<-k.free // it is on its way
		return nil
	}
}

// Finish takes a place for a call that finishes something.
func (k *Places) Finish() {
	if k != nil && k.inside.Add(1) > k.most {
		<-k.free
	}
}

// withdraw ends the wait for a place, unless one has become free.
func (k *Places) withdraw() bool {
	for {
		n := k.inside.Load()
		if n <= k.most {
			return false
		}
		if k.inside.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// Leave gives the place back.
func (k *Places) Leave() {
	if k == nil {
		return
	}
	if k.stuck.Load() {
		k.stuck.Store(false)
	}
	if k.inside.Add(-1) >= k.most {
		k.passed.Add(1)
		k.free <- struct{}{} // never full: it holds free places only
	}
}

// Stuck reports whether calls on the directory would return ErrNoAnswer.
func (d *Dir) Stuck() bool {
	k := d.disk // all calls may have returned since somebody who gave up set stuck
	return k != nil && k.stuck.Load() && k.inside.Load() >= k.most
}
