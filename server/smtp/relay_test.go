package smtp

import (
	"fmt"
	"strings"
	"testing"

	"maildird/auth"
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

// noUsers is a directory of nobody, as of a users file that was emptied by a slip.
type noUsers struct{}

func (noUsers) Lookup(string) (auth.User, bool) { return auth.User{}, false }
func (noUsers) LeftOut(string) bool             { return false }
func (noUsers) Empty() bool                     { return true }

// TestNoUsers: while there is no user at all, mail is refused for now only.
func TestNoUsers(t *testing.T) {
	c := startServer(t, MX, func(c *Config) { c.Users = noUsers{} }).hello()
	c.say("MAIL FROM:<s@client.example>", "250")
	c.say("RCPT TO:<alice@example.org>", "451 4.3.5 No users are set up yet")
	c.say("RCPT TO:<alice@elsewhere.example>", "550 ")
}

// TestRefusedMailIsLogged: of a sender who is refused at once, as who did not log in, the
// log tells why.
func TestRefusedMailIsLogged(t *testing.T) {
	ts := startServer(t, Submission, func(c *Config) { c.PlaintextFrom = nil })
	c := ts.hello()
	c.say("AUTH PLAIN AGEAYQ==", "538 5.7.11 ")
	if log := ts.log.Take(); !strings.Contains(log, `msg="login refused"`) || !strings.Contains(log, `error="passwords are accepted over TLS only"`) {
		t.Error(log)
	}
	c.say("MAIL FROM:<alice@example.org>", "530 5.7.0 ")
	if log := ts.log.Take(); !strings.Contains(log, `msg="message refused"`) || !strings.Contains(log, ` from=alice@example.org reply="530 5.7.0 Must issue a STARTTLS command first"`) {
		t.Error(log)
	}
	ts = startServer(t, MX)
	c = ts.hello()
	c.say("MAIL FROM:<alice@example.org> SIZE=999999999", "552 5.3.4 ")
	if log := ts.log.Take(); !strings.Contains(log, ` reply="552 5.3.4 Message is larger than `) {
		t.Error(log)
	}
	c.say("MAIL FROM:<alice@example.org>", "250 ")
	if log := ts.log.Take(); strings.Contains(log, "refused") {
		t.Error(log)
	}
}
