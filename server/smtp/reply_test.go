package smtp

import (
	"net"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

// TestReplyLength: a reply line has at most 512 octets (RFC 5321 section 4.5.3.1.5), whatever a
// relay's reply that is passed on has.
func TestReplyLength(t *testing.T) {
	for _, enhanced := range []code3{{5, 7, 1}, {5, 123, 456}} {
		if got := appendReply(nil, 550, enhanced, strings.Repeat("x", 1000)); len(got) > 512 || len(got) < 490 || got[len(got)-2] != '\r' {
			t.Errorf("%d octets: %.20q", len(got), got)
		}
	}
}

// TestReplyGroups: replies to commands in one packet come together only for those that RFC 2920
// section 3.2 names. The others are sent before the next command, which may take long, is begun.
func TestReplyGroups(t *testing.T) {
	c := startServer(t, MX).pipe()
	if got := c.read(); got != "220 mail." {
		t.Error(got)
	}
	for _, group := range []struct {
		lines string
		want  []string
	}{
		{"EHLO client.example\r\n", []string{"250 ENHAN"}},
		{
			"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nNOOP\r\nVRFY bob\r\nFROB\r\nRCPT TO:<nobody@example.org>\r\nRSET\r\nDATA\r\nQUIT\r\n",
			[]string{"250 2.0.0|250 2.1.0|250 2.1.5|250 2.0.0", "252 2.5.0", "500 5.5.2", "550 5.1.1|250 2.0.0|503 5.5.1", "221 2.0.0"},
		},
	} {
		c.say(group.lines, group.want...)
	}
}

// TestSlowReplies: a client that sends many recipients at once sees the replies as they come, if
// each takes long: because there were many errors, or because the relay is asked.
func TestSlowReplies(t *testing.T) {
	c := startServer(t, MX).pipe()
	c.read()
	c.say("EHLO client.example\r\n", "250 ENHAN")
	var slow []string // after 20 at once
	for range 10 {
		slow = append(slow, "550 5.1.1")
	}
	c.say("MAIL FROM:<>\r\n"+strings.Repeat("RCPT TO:<nobody@example.org>\r\n", 19)+"RSET\r\n", "250 2.1.0"+strings.Repeat("|550 5.1.1", 19)+"|250 2.0.0")
	c.say("MAIL FROM:<>\r\n"+strings.Repeat("RCPT TO:<nobody@example.org>\r\n", 11), append([]string{"250 2.1.0|550 5.1.1"}, slow...)...)

	c = startServer(t, Submission, withRelay(t, newRelay(t, nil))).pipe()
	c.read()
	c.say("EHLO client.example\r\n", "250 AUTH ")
	c.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235 2.7.0")
	c.say("MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob>\r\nRCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nRCPT TO:<bob>\r\n",
		"250 2.1.0|250 2.1.5|250 2.1.5", "250 2.1.5", "250 2.1.5")
}

// pipeClient is a client that sees what the server writes at once.
type pipeClient struct {
	t    *testing.T
	conn net.Conn
}

func (ts *testServer) pipe() *pipeClient {
	pipes := servertest.NewPipes()
	ts.listen(pipes, false)
	conn, _ := pipes.Dial()
	ts.t.Cleanup(func() { _, _ = conn.Close(), pipes.Close() })
	return &pipeClient{ts.t.(*testing.T), conn}
}

// read returns the beginnings of the replies that the server writes at once.
func (c *pipeClient) read() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 8192)
	n, err := c.conn.Read(buf)
	if err != nil {
		c.t.Fatal(err)
	}
	var replies []string
	for line := range strings.Lines(string(buf[:n])) {
		if line[3] == ' ' {
			replies = append(replies, line[:9])
		}
	}
	return strings.Join(replies, "|")
}

// say sends lines at once, and checks what the server writes.
func (c *pipeClient) say(lines string, want ...string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(lines)); err != nil {
		c.t.Fatal(err)
	}
	for _, w := range want {
		if got := c.read(); got != w {
			c.t.Errorf("read %s, want %s", got, w)
		}
	}
}
