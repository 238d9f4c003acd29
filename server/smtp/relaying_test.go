package smtp

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/server/limit"
	"maildird/server/relay"
	"maildird/server/relay/relaytest"
)

// newRelay starts a relay with the extensions of today's relays.
func newRelay(t testing.TB, answers map[string]string) *relaytest.Server {
	s := &relaytest.Server{Offers: []string{"PIPELINING", "SIZE 60000000", "8BITMIME", "SMTPUTF8"}, Answers: answers}
	return s.Start(t)
}

// scriptRelay starts the relay for a dialogue.
func scriptRelay(t *testing.T, kind string) *relaytest.Server {
	switch kind {
	case "new":
		return newRelay(t, map[string]string{
			"RCPT TO:<nobody@": "550-5.1.1 <nobody@there.example>: no such user,\r\n550 5.1.1 it says",
			"RCPT TO:<busy@":   "450 4.2.0 Try later",
			". RCPT TO:<spam@": "554 5.7.0 This is spam, it says",
		})
	case "old":
		return (&relaytest.Server{}).Start(t)
	case "down":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return &relaytest.Server{Address: l.Addr().String()}
	}
	t.Fatalf("no relay is %s", kind)
	return nil
}

func withRelay(t testing.TB, s *relaytest.Server) serverOption {
	t.Helper()
	r, err := relay.New(relay.Config{Address: s.Address, Hostname: "mail.example.org", Greeting: Greeting(Submission, "mail.example.org")})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Relay = r }
}

// submit opens a connection and logs in as alice.
func (ts *testServer) submit() *client {
	ts.t.Helper()
	c := ts.hello()
	c.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235")
	return c
}

// recipients begins a transaction of alice.
func (c *client) recipients(to ...string) {
	c.t.Helper()
	c.say("MAIL FROM:<alice@example.org>", "250")
	for _, r := range to {
		c.say("RCPT TO:<"+r+">", "250")
	}
}

// TestRelayedCopy: the relay gets the message that is stored locally, but with no other
// Received field than this server's, and without any mention of other recipients.
func TestRelayedCopy(t *testing.T) {
	s := newRelay(t, nil)
	ts := startServer(t, Submission, withRelay(t, s))
	c := ts.submit()
	const fields = "From: alice@example.org\r\nDate: now\r\nMessage-ID: <1@x>\r\n"
	for _, one := range []struct {
		to    []string
		named string
	}{
		{[]string{"friend@there.example"}, "\r\n\tfor <friend@there.example>"},
		{[]string{"friend@there.example", "bob@example.org"}, "\r\n\tfor <friend@there.example>"},
		{[]string{"friend@there.example", "other@elsewhere.example", "bob@example.org"}, ""},
	} {
		before := len(s.Messages())
		c.recipients(one.to...)
		c.say("DATA", "354")
		line := c.say(fields+"Bcc: carol@example.org\r\nReturn-Path: <x@y>\r\n\r\n..dot\r\nGr\u00fc\u00dfe\r\n.", "250 2.0.0 Relayed as ")
		id := strings.TrimSpace(strings.TrimPrefix(line, "250 2.0.0 Relayed as "))
		want := "Received: from client.example ([127.0.0.1])\r\n\tby mail.example.org (maildird) with ESMTPA id " + id + one.named +
			"; Sat, 3 Feb 2024 04:05:06 +0000\r\n" + fields + "\r\n..dot\r\nGr\u00fc\u00dfe\r\n"
		if got := s.Messages()[before:]; len(got) != 1 || got[0] != want {
			t.Errorf("the relay got %q, want %q", got, want)
		}
		log := ts.log.Take()
		for _, want := range []string{
			"msg=\"message relayed\"", "id=" + id, "from=alice@example.org", "message_id=<1@x>", "relay=" + s.Address, `reply="2.0.0 Ok: queued as 4cXyZ"`,
		} {
			if !strings.Contains(log, want) {
				t.Errorf("the log has no %s: %s", want, log)
			}
		}
		if stored := strings.Contains(log, "message stored"); stored != (len(one.to) > 1) {
			t.Errorf("stored here: %v: %s", stored, log)
		}
	}
	if n := len(ts.mail("bob")); n != 2 {
		t.Errorf("bob has %d messages", n)
	}
	s.Idle()
}

// TestRelayRefuses: if the relay refuses the message or fails in any way, the client is told
// so, and nothing is stored.
func TestRelayRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		reply   string
	}{
		"message":         {map[string]string{".": "554 5.7.0 Spam"}, "554 5.7.0 Spam"},
		"message for now": {map[string]string{".": "452 4.3.1 Full"}, "452 4.3.1 Full"},
		"data":            {map[string]string{"DATA": "554 5.5.0 No"}, "554 5.5.0 No"},
		"in the middle":   {map[string]string{"text": "552 5.3.4 Too big"}, "552 5.3.4 Too big"},
		"stops":           {map[string]string{"text": "421 4.3.2 Bye"}, "451 4.4.1"},
		"hangs up":        {map[string]string{"text": relaytest.HangUp}, "451 4.4.1"},
		"hangs up at end": {map[string]string{".": relaytest.HangUp}, "451 4.4.1"},
		"login":           {map[string]string{"DATA": "530 5.7.0 Log in"}, "451 4.4.1"},
	} {
		for _, length := range []int{1, 20_000} { // number of lines in the message
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newRelay(t, c.answers)
				ts := startServer(t, Submission, withRelay(t, s))
				cl := ts.submit()
				cl.recipients("bob@example.org", "friend@there.example", "carol@example.org")
				cl.say("DATA", "354")
				cl.send("From: alice@example.org\r\n\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", length))
				cl.say(".", c.reply)
				if n := len(ts.mail("bob")) + len(ts.mail("carol")); n > 0 {
					t.Errorf("%d messages are stored", n)
				}
				ts.noTemp()
				s.Idle()
				// The session continues.
				cl.recipients("bob@example.org")
				cl.say("DATA", "354")
				cl.say("From: alice@example.org\r\n.", "250 2.0.0 Stored as ")
				log := ts.log.Take()
				if !strings.Contains(log, "message refused") || strings.Contains(log, "level=ERROR") != strings.HasPrefix(c.reply, "451 4.4.1") {
					t.Error(log)
				}
			})
		}
	}
}

// TestStoringFailsAfterRelay: if a message cannot be stored after the relay has accepted it,
// the client must send it again, since nothing may be lost.
func TestStoringFailsAfterRelay(t *testing.T) {
	s := &relaytest.Server{}
	var home string
	s.Taken = func() { _ = os.RemoveAll(filepath.Join(home, "bob", "new")) }
	ts := startServer(t, Submission, withRelay(t, s.Start(t)))
	home = ts.home
	c := ts.submit()
	for _, to := range [][]string{{"bob@example.org"}, {"bob@example.org", "carol@example.org"}} {
		c.recipients(slices.Concat(to, []string{"friend@there.example"})...)
		c.say("DATA", "354")
		c.say("From: alice@example.org\r\n.", "451 4.3.0")
		if n := len(ts.mail("bob")) + len(ts.mail("carol")); n > 0 {
			t.Errorf("%d messages are stored", n)
		}
		log := ts.log.Take()
		if !strings.Contains(log, "message relayed") || !strings.Contains(log, "message cannot be stored") {
			t.Error(log)
		}
	}
	ts.noTemp()
	if n := len(s.Messages()); n != 2 {
		t.Errorf("the relay has %d messages", n)
	}
}

// TestUTF8HelloToOldRelay: the Received field that the server adds must not contain characters
// that the relay does not accept, such as those in a client's name.
func TestUTF8HelloToOldRelay(t *testing.T) {
	s := (&relaytest.Server{Offers: []string{"8BITMIME"}}).Start(t)
	ts := startServer(t, Submission, withRelay(t, s))
	c := ts.submit()
	for _, one := range []struct{ hello, reply string }{
		{"m\u00fcller.example", "550 5.6.9 Message header has non-ASCII characters"},
		{"client.example", "250 2.0.0 Relayed as "},
	} {
		c.say("EHLO "+one.hello, "250")
		c.say("MAIL FROM:<alice@example.org> SMTPUTF8", "250")
		c.say("RCPT TO:<friend@there.example>", "250")
		c.say("DATA", "354")
		c.say("From: alice@example.org\r\n\r\n.", one.reply)
	}
	if n := len(s.Messages()); n != 1 {
		t.Errorf("the relay has %d messages", n)
	}
}

// TestSenderInALabels: for a relay that accepts only ASCII, the sender's domain is converted,
// like those of the recipients.
func TestSenderInALabels(t *testing.T) {
	for _, offers := range [][]string{nil, {"SMTPUTF8"}} {
		s := (&relaytest.Server{Offers: offers}).Start(t)
		ts := startServer(t, Submission, withRelay(t, s))
		c := ts.hello()
		c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00erika@m\u00fcller.example\x00secret")), "235")
		for _, one := range []struct{ sender, parameters string }{
			{"erika@m\u00fcller.example", " SMTPUTF8"}, {"erika@xn--mller-kva.example", ""}, {"Erika+x@M\u00dcLLER.example", " SMTPUTF8"},
		} {
			c.say("MAIL FROM:<"+one.sender+">"+one.parameters, "250")
			c.say("RCPT TO:<friend@there.example>", "250")
			c.say("DATA", "354")
			c.say("From: erika@xn--mller-kva.example\r\n\r\n.", "250 2.0.0 Relayed as ")
		}
		c.say("QUIT", "221")
		s.Idle()
		var got []string
		for _, said := range s.Said() {
			if strings.HasPrefix(said, "MAIL ") {
				got = append(got, said)
			}
		}
		utf8 := ""
		if offers != nil {
			utf8 = " SMTPUTF8"
		}
		want := []string{
			"MAIL FROM:<erika@xn--mller-kva.example>" + utf8, "MAIL FROM:<erika@xn--mller-kva.example>", "MAIL FROM:<Erika+x@xn--mller-kva.example>" + utf8,
		}
		if !slices.Equal(got, want) {
			t.Errorf("the relay was told %q,\nwant %q", got, want)
		}
	}
}

// TestSlowRelay: a client that waits for the relay does not block other clients, whoever the
// recipients are. Here, the relay only replies when it has the messages of all clients.
func TestSlowRelay(t *testing.T) {
	const many, clients = 66, 2 // more than 64 make a wide delivery
	all := make([]string, many)
	for i := range all {
		all[i] = fmt.Sprintf("bob+%d@example.org", i)
	}
	for name, to := range map[string][]string{"nobody here": nil, "the same one": all[:1], "some": all[:8], "many": all} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			n, whole := 0, make(chan struct{})
			s := &relaytest.Server{Taken: func() {
				mu.Lock()
				if n++; n == clients {
					close(whole)
				}
				mu.Unlock()
				select {
				case <-whole:
				case <-t.Context().Done():
				}
			}}
			ts := startServer(t, Submission, withRelay(t, s.Start(t)))
			var waiting []*client
			for range clients {
				c := ts.submit()
				c.recipients(slices.Concat(to, []string{"friend@there.example"})...)
				c.say("DATA", "354")
				c.send("From: alice@example.org\r\n.\r\n")
				waiting = append(waiting, c)
			}
			for _, c := range waiting {
				c.expect("250 2.0.0 Relayed as ")
			}
			if got := len(ts.mail("bob")); got != clients*len(to) {
				t.Errorf("bob has %d messages", got)
			}
		})
	}
}

// TestLargeRelayed: a message that no buffer can hold is stored and relayed unchanged.
func TestLargeRelayed(t *testing.T) {
	s := newRelay(t, nil)
	ts := startServer(t, Submission, withRelay(t, s))
	c := ts.submit()
	text := "From: alice@example.org\r\nDate: x\r\nMessage-ID: y\r\n\r\n" + strings.Repeat("..one dot\r\nand more of it\r\n", 300_000)
	c.recipients("bob@example.org", "friend@there.example")
	c.say("DATA", "354")
	c.send(text)
	c.say(".", "250")
	got, stored := s.Messages(), ts.mail("bob")
	if len(got) != 1 || !strings.HasSuffix(got[0], "+0000\r\n"+text) {
		t.Errorf("the relay got %d messages, or another one", len(got))
	}
	if len(stored) != 1 || untraced(t, stored[0]) != strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "..", ".") {
		t.Errorf("%d messages are stored, or another one", len(stored))
	}
}

// TestRelayIsLeft: the connection to the relay ends with the transaction, however that ends,
// and the relay accepts no message.
func TestRelayIsLeft(t *testing.T) {
	const half = "From: alice@example.org\r\n\r\nhalf of it\r\n"
	for name, end := range map[string]func(c *client){
		"RSET":            func(c *client) { c.say("RSET", "250") },
		"EHLO":            func(c *client) { c.say("EHLO client.example", "250") },
		"QUIT":            func(c *client) { c.say("QUIT", "221") },
		"gone":            func(c *client) { _ = c.conn.Close() },
		"gone in message": func(c *client) { c.say("DATA", "354"); c.send(half); _ = c.conn.Close() },
		"gone in chunks":  func(c *client) { c.say("BDAT 40\r\n"+half[:38], "250"); _ = c.conn.Close() },
		"refused here":    func(c *client) { c.say("DATA", "354"); c.say("From: bob@example.org\r\n.", "553") },
		"too large": func(c *client) {
			c.say("DATA", "354")
			c.send(half + strings.Repeat("x\r\n", 50_000))
			c.say(".", "552")
		},
		"line too long": func(c *client) { c.say("DATA", "354"); c.say(half+strings.Repeat("x", 1000)+"\r\n.", "554") },
		"loop": func(c *client) {
			c.say("DATA", "354")
			c.say(strings.Repeat("Received: x\r\n", 101)+half+".", "554 5.4.6")
		},
		"BDAT of no size":  func(c *client) { c.say("BDAT x", "501") },
		"a chunk too many": func(c *client) { c.say("BDAT 90000000", "552") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRelay(t, nil)
			ts := startServer(t, Submission, withRelay(t, s), func(c *Config) { c.Limits.Message, c.Limits.Line = 100_000, 500 })
			c := ts.submit()
			c.recipients("friend@there.example")
			end(c)
			s.Idle()
			if n := len(s.Messages()); n > 0 {
				t.Errorf("the relay took %d messages", n)
			}
			ts.noTemp()
		})
	}
}

// TestRelayAtStop: a silent relay does not delay the shutdown of the server.
func TestRelayAtStop(t *testing.T) {
	for name, c := range map[string]struct {
		silent string
		lines  string
	}{
		"open":      {"EHLO", ""},
		"recipient": {"RCPT TO:<other@", "RCPT TO:<other@there.example>\r\n"},
		"message":   {".", "DATA\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRelay(t, map[string]string{c.silent: relaytest.Silence})
			ts := startServer(t, Submission, withRelay(t, s))
			cl := ts.submit()
			cl.say("MAIL FROM:<alice@example.org>", "250")
			cl.send("RCPT TO:<friend@there.example>\r\n" + c.lines)
			if name == "message" {
				cl.expect("250")
				cl.expect("354")
				cl.send("From: alice@example.org\r\n.\r\n")
			}
			eventually(t, "the relay is asked", func() bool {
				return len(s.Said()) > 0 && strings.HasPrefix(s.Said()[len(s.Said())-1], strings.TrimSuffix(c.silent, "."))
			})
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			_ = ts.Shutdown(ctx)
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if strings.Contains(ts.log.String(), "level=ERROR") {
				t.Error(ts.log.String())
			}
		})
	}
}

// TestRelayedAreCounted: external recipients count like others, even if the relay refuses them,
// so that the server cannot be used to probe for addresses.
func TestRelayedAreCounted(t *testing.T) {
	s := newRelay(t, map[string]string{"RCPT TO:<nobody@": "550 5.1.1 No"})
	ts := startServer(t, Submission, withRelay(t, s), func(c *Config) { c.Mail = limit.NewMail(100, 3) })
	c := ts.submit()
	c.recipients("friend@there.example")
	c.say("RCPT TO:<nobody@there.example>", "550 5.1.1 No")
	c.say("RCPT TO:<bob@example.org>", "250")
	c.say("RCPT TO:<other@there.example>", "450 4.7.1")
	if said := strings.Join(s.Said(), "|"); strings.Contains(said, "other@") {
		t.Error(said)
	}
}

// TestRelayInACircle: servers that relay to each other stop because of their limits.
func TestRelayInACircle(t *testing.T) {
	var second *testServer
	first := startServer(t, Submission, func(c *Config) {
		c.Hostname = "first.example"
		c.Connections = limit.New(limit.Limits{PerUser: 5})
	})
	second = startServer(t, Submission, func(c *Config) { c.Hostname = "second.example" }, loggedInRelay(t, first.addr))
	r, err := relay.New(relay.Config{Address: second.addr, User: "alice@example.org", Password: "secret", Hostname: "first.example"})
	if err != nil {
		t.Fatal(err)
	}
	first.cfg.Relay = r
	c := first.submit()
	c.say("MAIL FROM:<alice@example.org>", "250")
	c.say("RCPT TO:<friend@there.example>", "451 4.4.1")
}

// loggedInRelay sets a relay that is another server of this kind.
func loggedInRelay(t *testing.T, address string) serverOption {
	r, err := relay.New(relay.Config{Address: address, User: "alice@example.org", Password: "secret", Hostname: "second.example"})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Relay = r }
}
