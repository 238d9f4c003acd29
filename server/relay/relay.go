// Package relay is the client of the smart host: the operator's or a provider's mail server
// that delivers what users submit for other domains.
//
// There is no queue here. A transaction goes through to the relay while the submitting client
// waits, and the client gets the relay's replies. After that the relay is responsible for the
// message: it retries for days, and returns what cannot be delivered. The end of a message is
// only sent when nothing is wrong with it. To drop a message, its connection is closed, because
// no server accepts a message without its last line.
//
// relay.go has the settings and the errors, open.go connects and logs in, transaction.go covers
// everything from MAIL to the end of the message, reply.go reads replies, and text.go writes
// the text of a message, which is given with LF line ends.
package relay

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// Config identifies the relay. Timeouts that are zero get their defaults.
type Config struct {
	Address string // "host:port"
	TLS     bool   // implicit TLS (RFC 8314); otherwise STARTTLS is used
	// User and Password are used to log in, unless User is empty.
	User, Password string
	// Roots verify the relay's certificate; nil for those of the system.
	Roots *x509.CertPool

	Hostname string // of this server, for EHLO
	// Greeting is the beginning of this server's own greeting. A relay that greets the same way
	// is this server itself, and is refused. "" disables the check.
	Greeting string

	Timeouts Timeouts
}

// Timeouts limit how long to wait for the relay. RFC 5321 section 4.5.3.2 has 5 minutes for
// most commands, but the user's mail program is waiting too, and less patiently.
type Timeouts struct {
	Open    time.Duration // to connect and log in; 1 min
	Command time.Duration // for the reply to MAIL, RCPT or DATA; 1 min
	Block   time.Duration // for the relay to accept a block of the message; 3 min
	End     time.Duration // for the reply to the complete message; 10 min
}

// Relay is a smart host. It is safe for concurrent use.
type Relay struct {
	cfg   Config
	local bool // it is on this machine
}

// Reasons why a relay cannot be used.
var (
	ErrNoTLS = errors.New("it does not offer STARTTLS, and is not on this machine")
	ErrLogin = errors.New("it does not let this server log in")
	ErrSelf  = errors.New("it is this very server")
	// ErrForNow means that the relay sent a 4xx reply that is not about a message. Nothing needs
	// to be changed here.
	ErrForNow = errors.New("it cannot be used for now")
	// ErrProtocol means that the input was not a reply of SMTP.
	ErrProtocol = errors.New("it does not speak SMTP")
)

// New returns a relay. It does not connect before Check or Begin.
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
	return &Relay{cfg: cfg, local: local(host)}, nil
}

// local reports whether host unmistakably names this machine. Nobody can intercept connections
// to it, so TLS is optional.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Address returns the "host:port" of the relay.
func (r *Relay) Address() string { return r.cfg.Address }

// Check connects, logs in, and sends QUIT. IsTrouble is true of its errors.
func (r *Relay) Check(ctx context.Context) error {
	c, err := r.open(ctx)
	if err != nil {
		return r.trouble(err)
	}
	c.quit()
	return nil
}

// trouble is the error of a relay that cannot be used.
type trouble struct {
	address string
	err     error
}

func (t *trouble) Error() string { return "relay " + t.address + ": " + t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

func (r *Relay) trouble(err error) error { return &trouble{r.cfg.Address, err} }

// IsTrouble reports whether err means that a relay cannot be used.
func IsTrouble(err error) bool {
	_, ok := errors.AsType[*trouble](err)
	return ok
}
