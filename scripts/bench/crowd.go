package main

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// crowd is a number of connections that deliver at the same time. A single thread serves them
// all: it waits for any of them to have a reply.
type crowd struct {
	epoll   int
	clients map[int32]*member // by descriptor
}

// member is a connection and the letters that it still has to deliver.
type member struct {
	*mailClient
	letters []letter
	text    bool // the text of letters[0] was sent, not only the commands
}

func newCrowd(n int, dial func() (*mailClient, error)) (*crowd, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w := &crowd{epoll: epoll, clients: map[int32]*member{}}
	for range n {
		c, err := dial()
		if err != nil {
			w.close()
			return nil, err
		}
		w.clients[int32(c.fd)] = &member{mailClient: c}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}); err != nil {
			w.close()
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	return w, nil
}

func (w *crowd) close() {
	for _, m := range w.clients {
		m.mailClient.close()
	}
	_ = unix.Close(w.epoll)
}

// deliver delivers the letters, the same number over each connection, and returns the time from
// the first command to the last reply.
func (w *crowd) deliver(letters []letter) (time.Duration, error) {
	each := len(letters) / len(w.clients)
	start := time.Now()
	for _, m := range w.clients {
		m.letters, letters = letters[:each], letters[each:]
		if err := m.begin(m.letters[0]); err != nil {
			return 0, err
		}
	}
	events := make([]unix.EpollEvent, len(w.clients))
	for busy := len(w.clients); busy > 0; {
		n, err := w.wait(events)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, os.NewSyscallError("epoll_wait", err)
		case n == 0:
			return 0, os.ErrDeadlineExceeded
		}
		for _, e := range events[:n] {
			m := w.clients[e.Fd]
			if err := m.goOn(); err != nil {
				return 0, err
			}
			if len(m.letters) == 0 {
				busy--
			}
		}
	}
	return time.Since(start), nil
}

// wait is unix.EpollWait, except that Go's scheduler does not learn that this thread blocks.
// Otherwise it would wake a thread of its own every 0.1 ms to give the place of this one to
// another goroutine, of which there is none: a third of the client's processor time.
func (w *crowd) wait(events []unix.EpollEvent) (int, error) {
	n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(limit.Milliseconds()), 0, 0)
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}

// goOn reads the input, and sends the next part if all replies have arrived.
func (m *member) goOn() error {
	if err := m.read(); err != nil || len(m.want) > 0 {
		return err
	}
	switch m.text = !m.text; {
	case m.text:
		return m.finish(m.letters[0])
	case len(m.letters) > 1:
		m.letters = m.letters[1:]
		return m.begin(m.letters[0])
	}
	m.letters = nil
	return nil
}
