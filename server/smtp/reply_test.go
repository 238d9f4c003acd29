package smtp

import (
	"strings"
	"testing"

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
	ts := startServer(t, MX)
	pipes := servertest.NewPipes()
	ts.listen(pipes, false)
	defer pipes.Close()
	conn, _ := pipes.Dial()
	defer conn.Close()
	buf := make([]byte, 4096)
	read := func() string { // what the server writes at once
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var codes []string
		for line := range strings.Lines(string(buf[:n])) {
			if line[3] == ' ' {
				codes = append(codes, line[:9])
			}
		}
		return strings.Join(codes, "|")
	}
	if got := read(); got != "220 mail." {
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
		if _, err := conn.Write([]byte(group.lines)); err != nil {
			t.Fatal(err)
		}
		for _, want := range group.want {
			if got := read(); got != want {
				t.Errorf("read %s, want %s", got, want)
			}
		}
	}
}
