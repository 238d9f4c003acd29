package delivery

import "sync"

// mostWaiting is how many system calls of deliveries may wait for the disk at the same time. A
// file system commits at once what that many ask for, so that more would not make it faster.
const mostWaiting = 64

// places limits how many system calls wait for the disk. Each occupies a thread meanwhile, and a
// program that cannot have another thread is ended by Go: while a disk is slow, a few hundred
// clients could otherwise end it. Everybody else waits without a thread. The zero value is ready
// for use. A places is safe for concurrent use.
type places struct {
	once sync.Once
	free chan struct{}
}

// with calls f, which must do nothing but make system calls, once there is a place for it.
func (p *places) with(f func() error) error {
	p.once.Do(func() { p.free = make(chan struct{}, mostWaiting) })
	p.free <- struct{}{}
	defer func() { <-p.free }()
	return f()
}
