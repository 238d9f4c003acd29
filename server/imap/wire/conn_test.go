package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a connection, either of sockets or of something that is not
// a socket, like TLS.
func pair(t *testing.T, kind string) (*Conn, net.Conn) {
	var near, far net.Conn
	if kind == "pipe" {
		near, far = net.Pipe()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if near, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return &Conn{Socket: near, Stream: near, ReadTimeout: time.Minute, WriteTimeout: time.Minute}, far
}

func TestAwait(t *testing.T) {
	for _, kind := range []string{"socket", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			c, far := pair(t, kind)
			lent := make([]byte, 100)
			await := func(deadline time.Time, on Reasons) (string, error) {
				n, err := c.Await(deadline, on, func() []byte { return lent }, func() {})
				return string(lent[:n]), err
			}
			// Earlier news, and news that arrive during the wait.
			c.Wake(NewsMailbox)
			if _, err := await(time.Time{}, NewsMailbox|NewsShutdown); !errors.Is(err, ErrWoken) {
				t.Fatal("not woken by what came before:", err)
			}
			time.AfterFunc(time.Millisecond, func() { c.Wake(NewsShutdown) })
			if _, err := await(time.Time{}, NewsShutdown); !errors.Is(err, ErrWoken) {
				t.Fatal("not woken:", err)
			}
			// News that it does not wait for, and news that were dropped.
			c.Wake(NewsMailbox | NewsOthers)
			c.Forget(NewsMailbox)
			if _, err := await(time.Now().Add(-time.Second), NewsMailbox|NewsShutdown); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("at the deadline:", err)
			}
			go func() { _, _ = io.WriteString(far, "x") }()
			if got, err := await(time.Time{}, NewsMailbox); got != "x" || err != nil {
				t.Fatalf("read %q, %v", got, err)
			}
			if _, err := await(time.Time{}, NewsOthers); !errors.Is(err, ErrWoken) {
				t.Fatal("what was not waited for is lost:", err)
			}
		})
	}
}

// TestReadUntil checks that a command does not continue after Until.
func TestReadUntil(t *testing.T) {
	c, _ := pair(t, "socket")
	c.Until = time.Now().Add(-time.Second)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	c.Until = time.Now().Add(time.Hour)
	c.Wake(NewsShutdown)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stranger holds the end of the server:", err)
	}
}
