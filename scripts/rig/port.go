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

// FreePort returns a TCP port on 127.0.0.1 for a program that needs a fixed port. The port is
// reserved for this process as long as it runs, even while nothing listens on it: the kernel
// does not choose it for connections and listeners without a fixed port, and other rigs on this
// machine do not take it.
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

// Closed reports whether a listener of this process is closed. To dial it would prove less,
// because its port may belong to another process by then.
func Closed(l net.Listener) bool {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	return ok && errors.Is(d.SetDeadline(time.Time{}), net.ErrClosed)
}

// unasked returns the first and the last of the ports from which the kernel chooses.
func unasked() (first, last int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if _, err = fmt.Sscan(string(text), &first, &last); err == nil {
			return first, last
		}
	}
	return 32_768, 60_999 // the default of Linux
}

// claim binds the abstract Unix socket that stands for the port; false if it exists. The kernel
// releases it when this process ends.
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
