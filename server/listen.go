package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"maildird/server/config"
)

// socketMode lets the group of the server's user deliver through a Unix socket.
const socketMode = 0o660

// listenOn binds an address. It replaces a socket file left behind by a server that no longer
// runs, but not one that still accepts connections.
func listenOn(a config.Address) (net.Listener, error) {
	if a.Network == "unix" {
		if err := removeStaleSocket(a.Address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(network(a), a.Address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: the address is in use by another program, which \"ss -ltnp\" shows", a.Address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		_, port, _ := net.SplitHostPort(a.Address)
		return nil, fmt.Errorf("cannot listen on %s: this machine does not have that address; use \":%s\" for all addresses that it has", a.Address, port)
	case errors.Is(err, syscall.EACCES) && a.Network == "tcp":
		return nil, fmt.Errorf("cannot listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE", a.Address)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", a.Address, err)
	}
	if a.Network != "unix" {
		return l, nil
	}
	st, err := os.Lstat(a.Address)
	if err == nil {
		err = os.Chmod(a.Address, socketMode)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return &socket{Listener: l, path: a.Address, file: st}, nil
}

// socket is a listener that removes its file when it is closed, but not that of another
// server, which may listen there if the file was removed before.
type socket struct {
	net.Listener
	path string
	file fs.FileInfo
	once sync.Once
}

// Close implements net.Listener. The file system may give the inode number of the file to
// that of another server once the listener is closed, so only the first call removes it.
func (s *socket) Close() error {
	s.once.Do(func() {
		if st, err := os.Lstat(s.path); err == nil && os.SameFile(st, s.file) {
			_ = os.Remove(s.path)
		}
	})
	return s.Listener.Close()
}

// shown returns the address of a listener as the settings have it: of a port alone, the
// system says [::], which in the settings is IPv6 only.
func shown(a config.Address, l net.Listener) string {
	bound := l.Addr().String()
	if host, _, err := net.SplitHostPort(a.Address); a.Network != "tcp" || err != nil || host != "" {
		return bound
	}
	_, port, _ := net.SplitHostPort(bound)
	return ":" + port
}

// network restricts a listener to the family of its address. Without it, Go takes 0.0.0.0 and
// [::] for all addresses of both families.
func network(a config.Address) string {
	host, _, err := net.SplitHostPort(a.Address)
	if a.Network != "tcp" || err != nil {
		return a.Network
	}
	switch ip, err := netip.ParseAddr(host); {
	case err != nil || ip.Is4In6():
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	return "tcp6"
}

func removeStaleSocket(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("cannot listen on %s: the file exists and is not a socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("cannot listen on %s: the address is in use by another program", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return os.Remove(path)
}
