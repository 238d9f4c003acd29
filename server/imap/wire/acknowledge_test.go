package wire

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

// TestCommandInTwoWrites: a client that sends a command in two writes, such as APPEND with its
// literal, and left Nagle's algorithm on, sends the second part when the first one has been
// acknowledged. It must not have to wait for a delayed acknowledgement, which takes 40 ms at least.
func TestCommandInTwoWrites(t *testing.T) {
	for _, kind := range []string{"socket", "tls"} {
		t.Run(kind, func(t *testing.T) {
			c, far := pair(t, "socket")
			if err := far.(*net.TCPConn).SetNoDelay(false); err != nil {
				t.Fatal(err)
			}
			if kind == "tls" {
				cert, roots := servertest.Certificate(t)
				c.Stream = tls.Server(c.Socket, &tls.Config{Certificates: []tls.Certificate{cert}})
				far = tls.Client(far, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
			}
			go serveTwoWrites(c)
			answers := bufio.NewReader(far)
			var took []time.Duration
			for range 20 {
				began := time.Now()
				for _, part := range []string{"APPEND INBOX {3+}\r\n", "abc\r\n"} {
					if _, err := io.WriteString(far, part); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := answers.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			// The first ones are fast in any case: TCP delays nothing on a new connection.
			for _, d := range took[10:] {
				if d < 30*time.Millisecond {
					return
				}
			}
			t.Errorf("no command was answered within 30 ms: %v", took)
		})
	}
}

// serveTwoWrites answers each command of two lines.
func serveTwoWrites(c *Conn) {
	for {
		lent := make([]byte, 4096)
		n, err := c.Await(time.Time{}, 0, func() []byte { return lent }, func() {})
		for command := lent[:n]; err == nil && strings.Count(string(command), "\n") < 2; command = lent[:n] {
			var more int
			more, err = c.Read(lent[n:])
			n += more
		}
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, "OK\r\n"); err != nil {
			return
		}
	}
}
