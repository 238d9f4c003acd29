package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

// FreePort returns a TCP port on 127.0.0.1 for a program that cannot be told to
// take any. It is this process's as long as that runs, also while nothing listens
// there: it is none of those that the kernel gives to whoever connects or
// listens without a wish, and no other rig of this machine takes it meanwhile.
func FreePort() (int, error) {
	first, last := unasked()
	from, n := 10_000, first-10_000
	if n < 1000 {
		from, n = last+1, 65_535-last
	}
	if n < 1 {
		return 0, errors.New("net.ipv4.ip_local_port_range leaves no port for a server that needs a certain one")
	}
	for range 1000 {
		port := from + rand.IntN(n)
		if !claim(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("1,000 ports were tried, and none is free")
}

// Closed tells whether nobody can connect to a listener of this process any more.
// To dial it tells less: its port may be somebody else's by then.
func Closed(l net.Listener) bool {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	return ok && errors.Is(d.SetDeadline(time.Time{}), net.ErrClosed)
}

// unasked are the first and the last port of those that the kernel chooses from.
func unasked() (first, last int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if _, err = fmt.Sscan(string(text), &first, &last); err == nil {
			return first, last
		}
	}
	return 32_768, 60_999 // what Linux begins with
}

// claim takes the port's name among the Unix sockets that have no file; false if
// there is one. The kernel takes it back when this process ends.
func claim(port int) bool {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("@maildird-rig-port-%d", port)}); err != nil {
		_ = syscall.Close(fd)
		return false
	}
	return true
}
