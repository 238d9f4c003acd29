package smtp

import (
	"fmt"
	"testing"
)

// TestRelayKeepsItsConnection: a relay hands over all its mail on one LMTP
// connection, as Postfix does, and much of it may be for nobody.
func TestRelayKeepsItsConnection(t *testing.T) {
	ts := startServer(t, LMTP)
	c := ts.hello()
	for i := range 150 {
		// As Postfix 3.7 sends it to a server with PIPELINING.
		c.send(fmt.Sprintf("MAIL FROM:<s@client.example>\r\nRCPT TO:<nobody%d@example.org>\r\nDATA\r\n", i))
		c.expect("250")
		c.expect("550")
		c.expect("503")
		c.say("RSET", "250")
	}
	c.begin("alice@example.org")
	c.send("Subject: x\r\n\r\nx\r\n.\r\n")
	c.expect("250")
	if got := ts.mail("alice"); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}
