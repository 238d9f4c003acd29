package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/server/config"
)

// TestFamilies: an IPv4 listener accepts no IPv6 connections and vice versa, so that both can
// be used; a listener with only a port accepts both.
func TestFamilies(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		_ = l.Close()
	}
	dials := func(addr string) bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	for host, want := range map[string]struct{ four, six bool }{
		"0.0.0.0": {four: true}, "[::]": {six: true}, "": {true, true},
	} {
		l, err := listenOn(config.Address{Network: "tcp", Address: host + ":0"})
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if four, six := dials("127.0.0.1:"+port), dials("[::1]:"+port); four != want.four || six != want.six {
			t.Errorf("%q: IPv4 %v, IPv6 %v; want %v", host, four, six, want)
		}
		if got := shown(config.Address{Network: "tcp", Address: host + ":0"}, l); got != host+":"+port {
			t.Errorf("%q is shown as %s", host, got)
		}
		if _, err := listenOn(config.Address{Network: "tcp", Address: l.Addr().String()}); err == nil || !strings.Contains(err.Error(), "the address is in use by another program") {
			t.Errorf("%q twice: %v", host, err)
		}
		_ = l.Close()
	}
}

// TestSocketOfAnother: a listener takes its own socket file with it, and not the one that
// another server has put in the place of it.
func TestSocketOfAnother(t *testing.T) {
	a := config.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "lmtp.sock")}
	listen := func() net.Listener {
		t.Helper()
		l, err := listenOn(a)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := listen()
	if err := os.Remove(a.Address); err != nil {
		t.Fatal(err)
	}
	second := listen()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("unix", a.Address); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(a.Address); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	_ = listen().Close()
}

// TestSocketClosedTwice: a listener is closed twice when a server stops. The second time it
// leaves the socket file of the next server alone, which may have got the inode number of its own.
func TestSocketClosedTwice(t *testing.T) {
	a := config.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "lmtp.sock")}
	first, err := listenOn(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenOn(a)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_ = first.Close()
	if _, err := os.Lstat(a.Address); err != nil {
		t.Error(err)
	}
}
