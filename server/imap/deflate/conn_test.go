package deflate

import (
	"io"
	"net"
	"strings"
	"testing"
)

func BenchmarkCompressedWrite(b *testing.B) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	c := NewConn(near, func(p any) { b.Error(p) })
	defer c.Close()
	line := []byte(strings.Repeat("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n", 100))
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}

type faultyConn struct{ net.Conn }

func (faultyConn) Read([]byte) (int, error) { panic("a fault of the decompressor") }

// TestPanicOfTheDecompressor: the decompressor has its own goroutine; a panic in it ends the
// connection, not the program.
func TestPanicOfTheDecompressor(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	told := make(chan any, 1)
	c := NewConn(faultyConn{near}, func(p any) { told <- p })
	defer c.Close()
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	if p := <-told; p != "a fault of the decompressor" {
		t.Error(p)
	}
}
