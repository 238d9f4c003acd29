package smtp

import (
	"fmt"
	"strings"
	"testing"

	"maildird/auth"
)

// TestRelayKeepsItsConnection: a relay passes all its mail over one LMTP connection, as Postfix
// does, and many of the recipients may not exist.
func TestRelayKeepsItsConnection(t *testing.T) {
	ts := startServer(t, LMTP)
	c := ts.hello()
	for i := range 150 {
		// This is what Postfix 3.7 sends to a server with PIPELINING.
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

// TestRefusedRecipientCountsOnce: an SMTP client that sends DATA along with the
// recipients, as in RFC 2920, did nothing wrong if they are refused. Each recipient counts
// as an error, unless it is refused for now; DATA does not.
func TestRefusedRecipientCountsOnce(t *testing.T) {
	for _, last := range []string{"DATA\r\n", "BDAT 3 LAST\r\nx\r\n"} {
		ts := startServer(t, MX)
		c := ts.hello()
		for range 15 { // half the number that slows the client down, but more than the limit of wrong commands
			c.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<nobody@example.org>\r\n" + last)
			c.expect("250")
			c.expect("550")
			c.expect("554 5.5.1 No valid recipients")
			c.say("RSET", "250")
		}
		if want := ` to=nobody@example.org reply="550 5.1.1 No such user here"`; strings.Count(ts.log.String(), want) != 15 {
			t.Errorf("the log does not tell of each refusal by%s:\n%s", want, ts.log.String())
		}
		for range 15 { // refused for now
			c.send("MAIL FROM:<s@client.example>\r\nRCPT TO:<dave@example.org>\r\n" + last)
			c.expect("250")
			c.expect("451")
			c.expect("554 5.5.1 No valid recipients")
			c.say("RSET", "250")
		}
	}
}

// noUsers is a directory without users, like a users file that was emptied by mistake.
type noUsers struct{}

func (noUsers) Lookup(string) (auth.User, bool) { return auth.User{}, false }
func (noUsers) LeftOut(string) bool             { return false }
func (noUsers) Empty() bool                     { return true }

// TestNoUsers: while there are no users at all, mail is only refused temporarily.
func TestNoUsers(t *testing.T) {
	ts := startServer(t, MX, func(c *Config) { c.Users = noUsers{} })
	c := ts.hello()
	c.say("MAIL FROM:<s@client.example>", "250")
	c.say("RCPT TO:<alice@example.org>", "451 4.3.5 No users are set up yet")
	want := `msg="recipient refused for now" protocol=smtp session=`
	if log := ts.log.Take(); !strings.Contains(log, want) || !strings.Contains(log, ` from=s@client.example to=alice@example.org reply="451 4.3.5 No users are set up yet"`) {
		t.Error(log)
	}
	c.say("RCPT TO:<alice@elsewhere.example>", "550 ")
}

// TestRefusedMailIsLogged: if a sender is refused at once, for example because the client did
// not log in, the log contains the reason.
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
	c.say("MAIL FROM:<alice>", "553 5.1.7 ")
	if log := ts.log.Take(); !strings.Contains(log, ` from=alice reason="sender has no domain"`) {
		t.Error(log)
	}
	c.say("MAIL FROM:<alice@example.org>", "250 ")
	if log := ts.log.Take(); strings.Contains(log, "refused") {
		t.Error(log)
	}
	ts = startServer(t, MX, func(c *Config) { c.BareNewline = Reject })
	c = ts.hello()
	c.send("NOOP\n")
	c.expect("550 5.5.2 ")
	if log := ts.log.Take(); !strings.Contains(log, `level=WARN msg="client sent a bare CR or LF"`) {
		t.Error(log)
	}
}

// TestRelayIsToldOfAll: a relay gets a reply for each recipient (RFC 2033 section 4.2), whatever is
// wrong with the message. Exim 4.96 keeps one for days if the connection ends in the middle of it.
func TestRelayIsToldOfAll(t *testing.T) {
	for name, c := range map[string]struct {
		option      serverOption
		text, reply string
	}{
		"too large": {func(c *Config) { c.Limits.Message = 1000 }, strings.Repeat("0123456789\r\n", 20_000), "552 5.3.4 "},
		"bare CR":   {func(c *Config) { c.BareNewline = Reject }, "Subject: x\r\n\r\na\rb\r\n", "550 5.5.2 "},
	} {
		t.Run(name, func(t *testing.T) {
			relay := startServer(t, LMTP, c.option).hello()
			relay.begin("alice@example.org", "bob@example.org", "carol@example.org")
			relay.send(c.text + ".\r\n")
			for _, to := range []string{"alice", "bob", "carol"} {
				relay.expect(c.reply + "<" + to + "@example.org> ")
			}
			relay.begin("alice@example.org")
			relay.send("Subject: x\r\n.\r\n")
			relay.expect("250 2.1.5 ")
		})
	}
}

// TestTooManyAreLogged: a message that may have no more recipients is one line of the log, however
// many follow.
func TestTooManyAreLogged(t *testing.T) {
	ts := startServer(t, LMTP, func(c *Config) { c.Limits.Recipients = 2 })
	c := ts.hello()
	for range 2 {
		c.recipients("alice@example.org", "bob@example.org")
		c.say("RCPT TO:<carol@example.org>", "452 4.5.3")
		c.say("RCPT TO:<nobody@example.org>", "452 4.5.3")
		c.say("RSET", "250")
	}
	const want = ` from=alice@example.org to=carol@example.org reason="the message has as many recipients as it may have" accepted=2 `
	if log := ts.log.String(); strings.Count(log, `msg="recipient refused for now"`) != 2 || strings.Count(log, want) != 2 {
		t.Error(log)
	}
}
