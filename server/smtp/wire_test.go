package smtp

import (
	"bytes"
	"net"
	"testing"
)

// TestLargeBuffersAreBounded: a limited number of connections keeps large buffers; the others
// receive their messages in small ones.
func TestLargeBuffersAreBounded(t *testing.T) {
	message := bytes.Repeat([]byte("x"), 4*largeBuffer)
	receive := func() (large bool) {
		client, server := net.Pipe()
		defer server.Close()
		go func() { _, _ = client.Write(message); _ = client.Close() }()
		x := &wire{socket: server, conn: server}
		defer x.shrink()
		for got := 0; got < len(message); {
			if err := x.more(largeBuffer); err != nil {
				t.Fatal(err)
			}
			got += len(x.unread())
			x.use(len(x.unread()))
			large = large || x.big != nil
		}
		return large
	}
	if !receive() {
		t.Error("a connection has no large buffer")
	}
	largeKept.Add(mostLarge)
	if receive() {
		t.Error("one connection too many has a large buffer")
	}
	if largeKept.Add(-mostLarge) != 0 {
		t.Error("a large buffer was kept")
	}
}
