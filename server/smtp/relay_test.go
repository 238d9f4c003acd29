package smtp

import (
	"fmt"
	"strings"
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

// TestRefusedRecipientCountsOnce: a client of SMTP that sends DATA along with the
// recipients, as RFC 2920 has it, did nothing wrong if they are refused. Each of these
// counts, DATA does not.
func TestRefusedRecipientCountsOnce(t *testing.T) {
	for _, last := range []string{"DATA\r\n", "BDAT 3 LAST\r\nx\r\n"} {
		ts := startServer(t, MX)
		c := ts.hello()
		for range 15 { // half as many as would make it slow, more than wrong commands may be
			c.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<nobody@example.org>\r\n" + last)
			c.expect("250")
			c.expect("550")
			c.expect("554 5.5.1 No valid recipients")
			c.say("RSET", "250")
		}
		if want := ` to=nobody@example.org reply="550 5.1.1 No such user here"`; strings.Count(ts.log.String(), want) != 15 {
			t.Errorf("the log does not tell of each refusal by%s:\n%s", want, ts.log.String())
		}
	}
}
