// Package relay is the client of the smart host: the mail server, of the operator or
// of a provider, that sends on what users submit for other domains.
//
// There is no queue here. A transaction goes through to the relay while the submitting
// client waits, and the client is told what the relay replies: it is the relay that then
// has the message, retries for days and returns what cannot be delivered. The end of a
// message is sent only when all is well with it: a message that is given up ends with
// its connection, and no server accepts a message without its last line.
//
// relay.go has the settings and the errors, open.go connects and logs in,
// transaction.go goes from MAIL to the end of the message, reply.go reads replies, and
// text.go writes the text of a message, which comes in with LF line ends.
package relay

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// Config says who the relay is. Zero times mean the defaults.
type Config struct {
	Address string // "host:port"
	TLS     bool   // the connection begins with TLS (RFC 8314); else there is STARTTLS
	// User and Password log in, if there is a user.
	User, Password string
	// Roots are who may have signed the relay's certificate; nil: the system's.
	Roots *x509.CertPool

	Hostname string // of this server, for EHLO
	// Greeting is how this server itself begins: a relay that does so would be asked
	// to send a message to itself. "" is nobody's.
	Greeting string

	Timeouts Timeouts
}

// Timeouts bound how long the relay is waited for. RFC 5321 section 4.5.3.2 has 5
// minutes for most commands; but the user's program waits too, and not as long.
type Timeouts struct {
	Open    time.Duration // until it is connected and logged in; 1 min
	Command time.Duration // for the reply to MAIL, RCPT or DATA; 1 min
	Block   time.Duration // until it takes a piece of the message; 3 min
	End     time.Duration // for the reply to the whole message; 10 min
}

// Relay is a smart host. Safe for concurrent use.
type Relay struct {
	cfg   Config
	local bool // it is on this machine
}

// Why a relay cannot be used.
var (
	ErrNoTLS = errors.New("it does not offer STARTTLS, and is not on this machine")
	ErrLogin = errors.New("it does not let this server log in")
	ErrSelf  = errors.New("it is this very server")
	// ErrForNow says that it replied so (4xx): nothing has to be changed here.
	ErrForNow = errors.New("it cannot be used for now")
	// ErrProtocol says that what came is no reply of SMTP.
	ErrProtocol = errors.New("it does not speak SMTP")
)

// New returns a relay. Nobody is asked before Check or Begin.
func New(cfg Config) (*Relay, error) {
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, err
	}
	t := &cfg.Timeouts
	t.Open = cmp.Or(t.Open, time.Minute)
	t.Command = cmp.Or(t.Command, time.Minute)
	t.Block = cmp.Or(t.Block, 3*time.Minute)
	t.End = cmp.Or(t.End, 10*time.Minute)
	return &Relay{cfg: cfg, local: Local(host)}, nil
}

// Local tells whether a host is this machine by its very name: nobody listens on the
// way to it, and there need be no TLS.
func Local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Address is the relay's "host:port".
func (r *Relay) Address() string { return r.cfg.Address }

// Check connects, logs in, and says QUIT.
func (r *Relay) Check(ctx context.Context) error {
	c, err := r.open(ctx)
	if err != nil {
		return r.trouble(err)
	}
	c.quit()
	return nil
}

// trouble is why a relay cannot be used.
type trouble struct {
	address string
	err     error
}

func (t *trouble) Error() string { return "relay " + t.address + ": " + t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

func (r *Relay) trouble(err error) error { return &trouble{r.cfg.Address, err} }

// IsTrouble tells whether an error says that a relay cannot be used.
func IsTrouble(err error) bool {
	_, ok := errors.AsType[*trouble](err)
	return ok
}
