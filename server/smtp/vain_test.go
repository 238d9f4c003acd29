package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// TestVainCommands: a client may repeat commands that lead to no message, but not without end.
func TestVainCommands(t *testing.T) {
	for _, commands := range [][]string{
		{"RSET"}, {"NOOP"}, {"VRFY alice"}, {"HELP"}, {"HELO client.example"}, {"EHLO client.example"},
		{"MAIL FROM:<>", "RCPT TO:<alice@example.org>", "RSET"},
		{"MAIL FROM:<>", "RCPT TO:<nobody@example.org>", "DATA", "DATA", "DATA", "DATA", "DATA", "RSET"},
		{"RCPT TO:<alice@example.org>"}, // the first one is accepted, the others are refused for now
	} {
		t.Run(strings.Join(commands, " "), func(t *testing.T) {
			ts := startServer(t, MX, func(c *Config) { c.Limits.Recipients = 1 })
			c := ts.hello()
			c.say("MAIL FROM:<>", "250")
			if len(commands) > 1 {
				c.say("RSET", "250")
			}
			for n := range (2*maxVain + maxBadCommands) * len(commands) {
				c.send(commands[n%len(commands)] + "\r\n")
				if c.answer() == "421" {
					c.expectEnd()
					return
				}
			}
			t.Error("it went on and on")
		})
	}
}

// TestMailingList: a client that names all recipients of a mailing list, and only then sends the
// message to those who were accepted, gets that far.
func TestMailingList(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Limits.Recipients = 50 })
	c := ts.hello()
	c.say("MAIL FROM:<list@client.example>", "250")
	var group strings.Builder
	for i := range 300 {
		fmt.Fprintf(&group, "RCPT TO:<bob+%d@example.org>\r\n", i)
	}
	c.send(group.String())
	for i := range 300 {
		if i < 50 {
			c.expect("250")
		} else {
			c.expect("452 4.5.3")
		}
	}
	c.say("DATA", "354")
	c.say("Subject: to the list\r\n\r\n.", "250")
	if got := len(ts.mail("bob")); got != 50 {
		t.Errorf("%d messages, want 50", got)
	}
}

// answer reads a reply and returns its code.
func (c *client) answer() string {
	c.t.Helper()
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if line[3] == ' ' {
			return line[:3]
		}
	}
}

// TestPatience: a client may send such commands again once it has delivered a message, and a relay
// may always.
func TestPatience(t *testing.T) {
	c := startServer(t, MX).hello()
	for n := range 3 {
		for range maxVain - 1 {
			c.say("RSET", "250")
		}
		c.begin("alice@example.org")
		c.say(fmt.Sprintf("Subject: %d\r\n\r\n.", n), "250")
	}
	relay := startServer(t, LMTP).hello()
	for range 3 * maxVain {
		relay.say("RSET", "250")
	}
}
