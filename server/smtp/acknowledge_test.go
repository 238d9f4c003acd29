package smtp

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

// TestTwoWrites: a client that sends in two writes what gets one reply, and left Nagle's algorithm
// on, as most libraries do, need not wait for a delayed acknowledgement, which takes 40 ms at
// least. Many send a message and the "." after it so.
func TestTwoWrites(t *testing.T) {
	ts := startServer(t, MX)
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	replies := bufio.NewReader(conn)
	say := func(parts ...string) time.Duration {
		t.Helper()
		began := time.Now()
		for _, part := range parts {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
		}
		line, err := replies.ReadString('\n')
		if err != nil || line[0] != '2' || line[3] != ' ' {
			t.Fatalf("reply %q to %q: %v", line, parts, err)
		}
		return time.Since(began)
	}
	say() // the greeting
	say("HELO client.example\r\n")
	say("MAIL FROM:<dave@example.com>\r\n")
	say("RCPT TO:<bob@example.org>\r\n")
	for name, parts := range map[string][]string{
		"command": {"NO", "OP\r\n"},
		"message": {"BDAT 6\r\nab", "cd\r\n"},
	} {
		fast := false
		var took []time.Duration
		for range 10 {
			took = append(took, say(parts...))
			fast = fast || took[len(took)-1] < 30*time.Millisecond
		}
		if !fast {
			t.Errorf("no %s was answered within 30 ms: %v", name, took)
		}
	}
}
