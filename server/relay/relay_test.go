package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"maildird/scripts/rig/leaks"
	"maildird/server/relay/relaytest"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// all are the extensions of a good relay.
var all = []string{"PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}

func connect(t *testing.T, s *relaytest.Server, edits ...func(*Config)) *Relay {
	t.Helper()
	cfg := Config{Address: s.Address, Hostname: "mail.example.org", Greeting: "mail.example.org ESMTP maildird"}
	for _, e := range edits {
		e(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send sends a message.
func send(r *Relay, m Mail, text string, to ...string) (string, error) {
	tx, err := r.Begin(context.Background(), m)
	if err != nil {
		return "", err
	}
	defer tx.Close()
	for _, one := range to {
		if err := tx.Rcpt(one); err != nil {
			return "", err
		}
	}
	for n := 1; text != ""; n *= 2 { // pieces of many sizes
		n = min(n, len(text))
		if _, err := tx.Write([]byte(text[:n])); err != nil {
			return "", err
		}
		text = text[n:]
	}
	return tx.Commit()
}

// TestSend sends a message, and checks what the relay received.
func TestSend(t *testing.T) {
	s := (&relaytest.Server{Offers: all}).Start(t)
	r := connect(t, s)
	said, err := send(r, Mail{From: "alice@example.org", Size: 77}, ".a\n\n..\n.\nb\rc\r\nend", "bob@there.example", "carol@there.example")
	if err != nil || said != "2.0.0 Ok: queued as 4cXyZ" {
		t.Fatal(said, err)
	}
	if got := s.Messages(); len(got) != 1 || got[0] != "..a\r\n\r\n...\r\n..\r\nb c \r\nend\r\n" {
		t.Errorf("the relay got %q", got)
	}
	s.Idle() // its QUIT has arrived
	if _, err := send(r, Mail{UTF8: true}, "", "jos\u00e9@there.example"); err != nil {
		t.Fatal(err)
	}
	if got := s.Messages(); len(got) != 2 || got[1] != "" {
		t.Errorf("the relay got %q", got)
	}
	s.Idle()
	want := []string{
		"EHLO mail.example.org", "MAIL FROM:<alice@example.org> SIZE=77 BODY=8BITMIME", "RCPT TO:<bob@there.example>", "RCPT TO:<carol@there.example>", "DATA", "QUIT",
		"EHLO mail.example.org", "MAIL FROM:<> BODY=8BITMIME SMTPUTF8", "RCPT TO:<jos\u00e9@there.example>", "DATA", "QUIT",
	}
	if got := s.Said(); !slices.Equal(got, want) {
		t.Errorf("the relay was told %q,\nwant %q", got, want)
	}
}

// TestAnswers: a relay's reply in a transaction is passed on, or results in an error that says
// that the relay cannot be used.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for name, c := range map[string]struct {
		answers map[string]string
		code    int // code of a refusal; 0 means that the relay cannot be used
		want    string
	}{
		"sender":            {map[string]string{"MAIL": "553 5.7.1 Not yours"}, 553, "Not yours"},
		"sender for now":    {map[string]string{"MAIL": "450 4.7.1 Slowly"}, 450, "Slowly"},
		"recipient":         {map[string]string{"RCPT": "550-5.1.1 <bob>: no such user\r\n550 5.1.1 here"}, 550, "<bob>: no such user here"},
		"other class":       {map[string]string{"RCPT": "550 4.1.1 odd"}, 550, "4.1.1 odd"},
		"no enhanced code":  {map[string]string{"RCPT": "550 1.2 apples"}, 550, "1.2 apples"},
		"no text":           {map[string]string{"RCPT": "452"}, 452, ""},
		"controls":          {map[string]string{"RCPT": "550 a\tb\x00c\xff\r"}, 550, "a?b?c?"},
		"long":              {map[string]string{"RCPT": "550 " + long}, 550, long[:longestText]},
		"data":              {map[string]string{"DATA": "451 4.3.0 Later"}, 451, "Later"},
		"message":           {map[string]string{".": "554 5.7.0 Spam"}, 554, "Spam"},
		"in the middle":     {map[string]string{"text": "552 5.3.4 Too big"}, 552, "Too big"},
		"not logged in":     {map[string]string{"MAIL": "530 5.7.0 Log in"}, 0, ErrLogin.Error()},
		"ends":              {map[string]string{"RCPT": "421 4.3.2 Bye"}, 0, "it ends the connection: 421 4.3.2 Bye"},
		"ends in message":   {map[string]string{"text": "421 4.3.2 Bye"}, 0, "it ends the connection: 421 4.3.2 Bye"},
		"hangs up":          {map[string]string{"RCPT": relaytest.HangUp}, 0, "EOF"},
		"hangs up at end":   {map[string]string{".": relaytest.HangUp}, 0, "EOF"},
		"nothing":           {map[string]string{"RCPT": relaytest.Silence}, 0, "no response in time"},
		"nothing at end":    {map[string]string{".": relaytest.Silence}, 0, "no response in time"},
		"takes no text":     {map[string]string{"text": relaytest.Silence}, 0, "no response in time"},
		"odd code":          {map[string]string{"RCPT": "399 what"}, 0, ErrProtocol.Error()},
		"early yes":         {map[string]string{"DATA": "250 2.0.0 Ok"}, 0, ErrProtocol.Error()},
		"other protocol":    {map[string]string{"greeting": "* OK IMAP4rev1"}, 0, ErrProtocol.Error()},
		"no such code":      {map[string]string{"RCPT": "950 x"}, 0, ErrProtocol.Error()},
		"two codes":         {map[string]string{"RCPT": "550-x\r\n250 x"}, 0, ErrProtocol.Error()},
		"long line":         {map[string]string{"RCPT": "550 " + long + long}, 0, "longer than 4096 octets"},
		"endless":           {map[string]string{"RCPT": strings.Repeat("250-x\r\n", 5000) + "250 x"}, 0, "more than 100 lines"},
		"greeting":          {map[string]string{"greeting": "554 5.7.1 Go away"}, 0, "it greets with 554 5.7.1 Go away"},
		"no greeting":       {map[string]string{"greeting": relaytest.Silence}, 0, "no response in time"},
		"hello":             {map[string]string{"EHLO": "550 No"}, 0, "it answers EHLO with 550 No"},
		"itself":            {map[string]string{"greeting": "220 mail.example.org ESMTP maildird"}, 0, ErrSelf.Error()},
		"early after TLS":   {map[string]string{"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 Go\r\n250 x"}, 0, "it sent more before TLS began"},
		"8-bit not offered": {map[string]string{"EHLO": "250 x"}, 550, "Recipient has characters outside ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&relaytest.Server{Offers: all, Answers: c.answers}).Start(t)
			short := 200 * time.Millisecond
			r := connect(t, s, func(cfg *Config) {
				if strings.Contains(c.want, "in time") {
					cfg.Timeouts = Timeouts{Open: short, Command: short, Block: short, End: short}
				}
			})
			to := "bob@there.example"
			if strings.HasPrefix(name, "8-bit") {
				to = "jos\u00e9@there.example"
			}
			_, err := send(r, Mail{UTF8: true}, strings.Repeat(strings.Repeat("x", 99)+"\n", 100_000), to)
			if c.code == 0 {
				if !IsTrouble(err) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "relay "+s.Address+": ") {
					t.Errorf("error %v, want %s", err, c.want)
				}
			} else if got, ok := errors.AsType[*smtp.SMTPError](err); !ok || got.Code != c.code || !strings.HasPrefix(got.Message, c.want) || IsTrouble(err) {
				t.Errorf("error %v, want %d %s", err, c.code, c.want)
			}
			if len(s.Messages()) > 0 {
				t.Error("the relay took the message")
			}
		})
	}
}

// TestUnknownCodes: a relay that replies with an unknown positive code has accepted the
// message. If that were an error, the message would be sent twice.
func TestUnknownCodes(t *testing.T) {
	for _, step := range []string{"MAIL", "RCPT", "."} {
		t.Run(step, func(t *testing.T) {
			s := (&relaytest.Server{Offers: all, Answers: map[string]string{step: "259 2.0.0 Fine"}}).Start(t)
			if _, err := send(connect(t, s), Mail{From: "a@example.org"}, "x\n", "b@there.example"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHello: a server that does not know EHLO receives HELO, and no use is made of extensions.
func TestHello(t *testing.T) {
	for _, answer := range []string{"500 5.5.1 What", "502 5.5.1 What"} {
		t.Run(answer[:3], func(t *testing.T) {
			s := (&relaytest.Server{Answers: map[string]string{"EHLO": answer, "HELO": "250-relay.example\r\n250 SIZE"}}).Start(t)
			if _, err := send(connect(t, s), Mail{From: "a@example.org", Size: 9, UTF8: true}, "x\n", "b@there.example"); err != nil {
				t.Fatal(err)
			}
			s.Idle()
			want := []string{"EHLO mail.example.org", "HELO mail.example.org", "MAIL FROM:<a@example.org>", "RCPT TO:<b@there.example>", "DATA", "QUIT"}
			if got := s.Said(); !slices.Equal(got, want) {
				t.Errorf("the relay was told %q", got)
			}
		})
	}
	// A reply that does not mean that EHLO is unknown is final, and so is one to HELO.
	for _, answers := range []map[string]string{{"EHLO": "504 5.5.4 x"}, {"EHLO": "500 x", "HELO": "504 5.5.4 x"}} {
		s := (&relaytest.Server{Answers: answers}).Start(t)
		if _, err := send(connect(t, s), Mail{From: "a@example.org"}, "x\n", "b@there.example"); !IsTrouble(err) || !strings.Contains(err.Error(), "504 5.5.4 x") {
			t.Errorf("%v: %v", answers, err)
		}
	}
}

// TestGivenUp: a message that is not committed is not sent, and the connection ends.
func TestGivenUp(t *testing.T) {
	s := (&relaytest.Server{Offers: all}).Start(t)
	r := connect(t, s)
	for _, text := range []string{"", "x\n", "x\n.\n", strings.Repeat("x\n", 100_000)} {
		for _, end := range []func(*Transaction){(*Transaction).Close, (*Transaction).Cut} {
			tx, err := r.Begin(context.Background(), Mail{From: "a@example.org"})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Rcpt("b@there.example"); err != nil {
				t.Fatal(err)
			}
			if text != "" {
				if _, err := tx.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			end(tx)
			tx.Close() // closing twice does no harm
			s.Idle()
		}
	}
	if got := s.Messages(); len(got) > 0 {
		t.Errorf("the relay took %.100q", got)
	}
	// In the middle of a message, QUIT would become part of its text.
	for _, text := range s.Unfinished() {
		if strings.Contains(text, "QUIT") {
			t.Errorf("the relay got %.100q", text)
		}
	}
}

// TestQuitAfterDATA: if the relay refuses DATA, it receives QUIT, since no message was begun.
func TestQuitAfterDATA(t *testing.T) {
	s := (&relaytest.Server{Offers: all, Answers: map[string]string{"DATA": "451 4.3.0 Later"}}).Start(t)
	if _, err := send(connect(t, s), Mail{}, "x\n", "b@there.example"); err == nil {
		t.Error("the message was taken")
	}
	s.Idle()
	if got := s.Said(); !slices.Equal(got[len(got)-2:], []string{"DATA", "QUIT"}) {
		t.Errorf("the relay was told %q", got)
	}
	if got := s.Unfinished(); len(got) > 0 {
		t.Errorf("the relay got %.100q", got)
	}
}

// TestNothingIsInjected: an address never becomes a command, wherever it comes from.
func TestNothingIsInjected(t *testing.T) {
	s := (&relaytest.Server{Offers: all}).Start(t)
	r := connect(t, s)
	for _, address := range []string{"a@b.example>\r\nRCPT TO:<c@d.example", "a@b.example\nDATA", "a\x00@b.example", "a\r@b.example"} {
		if _, err := send(r, Mail{From: address}, "x\n", "b@there.example"); !IsTrouble(err) {
			t.Errorf("from %q: %v", address, err)
		}
		if _, err := send(r, Mail{From: "a@example.org"}, "x\n", address); !IsTrouble(err) {
			t.Errorf("to %q: %v", address, err)
		}
	}
	s.Idle()
	for _, said := range s.Said() {
		if said != "EHLO mail.example.org" && said != "MAIL FROM:<a@example.org> BODY=8BITMIME" {
			t.Errorf("the relay was told %q", said)
		}
	}
}

// TestCancelled: waiting for a silent relay can be cancelled.
func TestCancelled(t *testing.T) {
	s := (&relaytest.Server{Answers: map[string]string{"EHLO": relaytest.Silence}}).Start(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for len(s.Said()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := connect(t, s).Begin(ctx, Mail{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestNoTLS: without TLS, nothing is sent to another machine.
func TestNoTLS(t *testing.T) {
	s := (&relaytest.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
	r := connect(t, s, func(cfg *Config) { cfg.User, cfg.Password = "alice", "secret" })
	if err := r.Check(context.Background()); err != nil {
		t.Errorf("on this machine: %v", err)
	}
	s.Idle()
	r.local = false
	if err := r.Check(context.Background()); !errors.Is(err, ErrNoTLS) {
		t.Errorf("elsewhere: %v", err)
	}
	s.Idle()
	if got := strings.Join(s.Said(), "|"); got != "EHLO mail.example.org|AUTH PLAIN AGFsaWNlAHNlY3JldA==|QUIT|EHLO mail.example.org" {
		t.Error(got)
	}
	broken := (&relaytest.Server{Offers: []string{"STARTTLS", "AUTH PLAIN"}, Answers: map[string]string{"STARTTLS": "454 4.7.0 Broken"}}).Start(t)
	r = connect(t, broken, func(cfg *Config) { cfg.User, cfg.Password = "alice", "secret" })
	if err := r.Check(context.Background()); err != nil {
		t.Errorf("on this machine: %v", err)
	}
	r.local = false
	if err := r.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "it answers STARTTLS with 454 4.7.0 Broken") {
		t.Errorf("elsewhere: %v", err)
	}
	broken.Idle()
	if got := strings.Count(strings.Join(broken.Said(), "|"), "AUTH"); got != 1 {
		t.Errorf("%q", broken.Said())
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost": true, "192.0.2.1": false, "mail.isp.example": false, "0.0.0.0": false, "": false} {
		if local(host) != want {
			t.Errorf("local(%q) is %v", host, !want)
		}
	}
}

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

// TestLocalhostElsewhere: a relay that needs no TLS because it is on this machine receives
// nothing if its name leads to another machine.
func TestLocalhostElsewhere(t *testing.T) {
	r, err := New(Config{Address: "localhost:25", Hostname: "mail.example.org", User: "alice", Password: "secret"})
	if err != nil || !r.local {
		t.Fatal(r, err)
	}
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		_, _ = io.WriteString(there, "220 x\r\n")
		_, _ = io.Copy(io.Discard, there)
	}()
	defer there.Close()
	_ = here.SetDeadline(time.Now().Add(time.Minute))
	c := &conn{socket: elsewhere{here}, wire: elsewhere{here}, in: newReader(here)}
	if err := r.begin(context.Background(), c); err == nil || !strings.Contains(err.Error(), "192.0.2.1:25 is not an address of this machine") {
		t.Error(err)
	}
}

// TestLogin checks how the replies to a login are reported.
func TestLogin(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		login   bool // whether the login is at fault
	}{
		"refused":       {map[string]string{"AUTH": "535 5.7.8 No"}, true},
		"not now":       {map[string]string{"AUTH": "454 4.7.0 Later"}, false},
		"asks for more": {map[string]string{"AUTH": "334 "}, true},
		"not offered":   {map[string]string{"EHLO": "250 x"}, true},
		"others only":   {map[string]string{"EHLO": "250-x\r\n250 AUTH XOAUTH2"}, true},
	} {
		s := (&relaytest.Server{Offers: []string{"AUTH LOGIN PLAIN"}, Answers: c.answers}).Start(t)
		err := connect(t, s, func(cfg *Config) { cfg.User, cfg.Password = "alice", "secret" }).Check(context.Background())
		if !IsTrouble(err) || errors.Is(err, ErrLogin) != c.login {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the password is in the error: %v", name, err)
		}
	}
}

// FuzzReply: replies are parsed correctly, and their size is limited.
func FuzzReply(f *testing.F) {
	f.Add([]byte("250 2.0.0 Ok\r\n"))
	f.Add([]byte("550-5.1.1 no\r\n550 5.1.1 user\n"))
	f.Add([]byte("421\r\n"))
	f.Add([]byte("550 5.1.1234 x\r\n250-"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &conn{in: newReader(bytes.NewReader(b))}
		r, err := c.reply()
		if err != nil {
			return
		}
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 || len(r.lines) > mostLines || len(r.text()) > longestText {
			t.Fatalf("%q gives %+v", b, r)
		}
		for _, line := range r.lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
				t.Fatalf("%q gives %q", b, line)
			}
		}
		if refused, ok := errors.AsType[*smtp.SMTPError](r.refusal()); ok {
			if refused.Code != r.code || refused.Code < 400 || refused.EnhancedCode != smtp.EnhancedCodeNotSet && refused.EnhancedCode[0] != r.code/100 {
				t.Fatalf("%q gives %+v", b, refused)
			}
		}
	})
}

// FuzzText: the relay reads any message, in any pieces, as one message, to its end.
func FuzzText(f *testing.F) {
	f.Add([]byte("Subject: x\n\n.\n..\r\n\r.\r\nend"), 3)
	f.Add([]byte("a.b\n..c"), 1) // not every piece begins a line
	f.Add([]byte("a.b\n..c"), 4)
	f.Add([]byte("\r"), 1)
	f.Add([]byte(".\r"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var out bytes.Buffer
		w := &text{w: bufio.NewWriter(&out)}
		cut = min(max(cut, 0), len(b))
		if err := errors.Join(w.write(b[:cut]), w.write(b[cut:]), w.end()); err != nil {
			t.Fatal(err)
		}
		lines, ended := strings.CutSuffix("\r\n"+out.String(), "\r\n.\r\n")
		if !ended || strings.Contains(lines+"\r\n", "\r\n.\r\n") {
			t.Fatalf("%q is sent as %q", b, out.String())
		}
		got := strings.TrimPrefix(strings.ReplaceAll(lines, "\r\n.", "\r\n"), "\r\n")
		want := strings.TrimSuffix(strings.ReplaceAll(string(b), "\r", " "), "\n")
		if strings.ReplaceAll(got, "\r\n", "\n") != want || strings.Count(got, "\r") != strings.Count(got, "\n") {
			t.Fatalf("%q is read as %q", b, got)
		}
	})
}
