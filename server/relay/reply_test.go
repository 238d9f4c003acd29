package relay

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"maildird/server/relay/relaytest"
)

// TestUnasked: a reply too many is not taken for the reply to what comes next.
func TestUnasked(t *testing.T) {
	for step, answer := range map[string]string{
		"greeting": "220 relay.example", "EHLO": "250-relay.example\r\n250 8BITMIME", "MAIL": "250 2.1.0 OK", "RCPT": "250 2.1.5 OK", "DATA": "354 Go on",
	} {
		t.Run(step, func(t *testing.T) {
			answers := map[string]string{step: answer + "\r\n250 2.0.0 OK"}
			answers["."] = "554 5.7.1 Refused"
			s := (&relaytest.Server{Answers: answers}).Start(t)
			if said, err := send(connect(t, s), Mail{From: "a@example.org"}, "x\n", "b@there.example"); !errors.Is(err, ErrProtocol) {
				t.Errorf("%q, %v", said, err)
			}
		})
	}
}

// TestClosing: a relay that ends the connection may be usable later, and says so.
func TestClosing(t *testing.T) {
	in := (&relaytest.Server{Answers: map[string]string{"RCPT": "421 4.3.2 Bye"}}).Start(t)
	if _, err := send(connect(t, in), Mail{From: "a@example.org"}, "x\n", "b@there.example"); !errors.Is(err, ErrForNow) {
		t.Error(err)
	}
	at := (&relaytest.Server{Answers: map[string]string{"greeting": "220 relay.example\r\n421 4.3.2 Bye"}}).Start(t)
	if err := connect(t, at).Check(t.Context()); !errors.Is(err, ErrForNow) {
		t.Error(err)
	}
}

// TestReplyAfterTheMessage: a reply too many that comes while the message is being sent is not
// taken for the one to the message, and a relay that does not answer QUIT has the message all the
// same.
func TestReplyAfterTheMessage(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		want    string
		code    int // code of a refusal; 0 means that the message is accepted
	}{
		"refused":        {map[string]string{".": "250 2.0.0 What\r\n554 5.7.1 Spam"}, "Spam", 554},
		"refused later":  {map[string]string{".": "250 2.0.0 What", "QUIT": "451 4.3.0 Later\r\n221 2.0.0 Bye"}, "Later", 451},
		"accepted":       {map[string]string{".": "250 2.0.0 What\r\n250 2.0.0 Yes"}, "2.0.0 Yes", 0},
		"ends":           {map[string]string{"QUIT": relaytest.HangUp}, "2.0.0 Ok: queued as 4cXyZ", 0},
		"shuts down":     {map[string]string{"QUIT": "421 4.3.2 Bye"}, "2.0.0 Ok: queued as 4cXyZ", 0},
		"does not reply": {map[string]string{"QUIT": relaytest.Silence}, "2.0.0 Ok: queued as 4cXyZ", 0},
		"knows no QUIT":  {map[string]string{"QUIT": "500 5.5.1 What"}, "2.0.0 Ok: queued as 4cXyZ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&relaytest.Server{Answers: c.answers}).Start(t)
			r := connect(t, s)
			tx, err := r.Begin(t.Context(), Mail{From: "a@example.org"})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Close()
			if err := tx.Rcpt("b@there.example"); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Write([]byte("x\n")); err != nil {
				t.Fatal(err)
			}
			r.cfg.Timeouts.Command = 200 * time.Millisecond // for QUIT
			said, err := tx.Commit()
			if refused, _ := errors.AsType[*smtp.SMTPError](err); refused != nil {
				if said = refused.Message; refused.Code != c.code {
					t.Errorf("%v, want %d", refused, c.code)
				}
			} else if err != nil || c.code != 0 {
				t.Errorf("error %v, want %d", err, c.code)
			}
			if said != c.want {
				t.Errorf("%q, want %q", said, c.want)
			}
		})
	}
}

// TestRepliesInPieces: a relay that sends each reply in two writes, and gathers small ones until
// what it has sent is acknowledged (Nagle's algorithm), need not wait for a delayed
// acknowledgement, which takes 40 ms at least. With TLS, Postfix does so at every connection.
func TestRepliesInPieces(t *testing.T) {
	fastest := func(gather bool) time.Duration {
		s := &relaytest.Server{Answers: map[string]string{"AUTH": "235 2.7.0 Ok"}, Offers: []string{"AUTH PLAIN"}}
		s.Through = func(l net.Listener) net.Listener { return halves{l, gather} }
		r := connect(t, s.Start(t), func(cfg *Config) { cfg.User = "alice" })
		var took []time.Duration
		for range 10 {
			began := time.Now()
			if err := r.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		return slices.Min(took)
	}
	if at, gathered := fastest(false), fastest(true); gathered > at+40*time.Millisecond {
		t.Errorf("the fastest of 10 logins took %s, and %s with replies sent at once", gathered, at)
	}
}

// halves is a listener whose connections send everything in two writes.
type halves struct {
	net.Listener
	gather bool
}

func (l halves) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return halved{conn}, conn.(*net.TCPConn).SetNoDelay(!l.gather)
}

type halved struct{ net.Conn }

func (c halved) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	m, err := c.Conn.Write(p[len(p)/2:])
	return n + m, err
}
