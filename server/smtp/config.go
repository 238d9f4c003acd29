package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir/delivery"
	"maildird/server/limit"
	"maildird/server/login"
	"maildird/server/relay"
	"maildird/server/sasl"
)

// Kind is what a server is for.
type Kind int

// The kinds of servers.
const (
	MX         Kind = iota // takes mail from anybody for our users
	Submission             // takes mail from our users, after AUTH
	LMTP                   // takes mail from a trusted relay, with a result for each recipient
)

// String returns the name that logs use.
func (k Kind) String() string {
	switch k {
	case Submission:
		return "submission"
	case LMTP:
		return "lmtp"
	}
	return "smtp"
}

// BareNewline is what is done about a CR or LF by itself (VU#302671).
type BareNewline int

const (
	// Normalize takes an LF without CR as the end of a line, but never of
	// DATA, and leaves a CR without LF as it is. So does Postfix 3.9.
	Normalize BareNewline = iota
	// Reject answers 550 5.5.2 to both and closes the connection.
	Reject
)

// Directory finds users. Safe for concurrent use.
type Directory interface {
	// Lookup finds a user by full address, or by a local part that only one
	// user has; upper and lower case are the same.
	Lookup(address string) (auth.User, bool)
	// LeftOut tells whether an address that Lookup does not find is one of a user
	// who cannot be served now.
	LeftOut(address string) bool
	// Empty tells whether there is no user at all.
	Empty() bool
}

// Config is the settings of a Server. Zero values of limits and times mean the
// defaults.
type Config struct {
	Log      *slog.Logger // nil: none
	Hostname string       // of this server, in greetings and Received
	Domains  []string     // whose mail is ours
	// Postmaster is the address of the user who gets the mail for postmaster
	// and abuse.
	Postmaster string

	Users Directory
	// Aliases, if not nil, says who gets the mail for an address; else it is the users
	// of Users and the postmaster.
	Aliases *aliases.Aliases
	Auth    login.Authenticator // for Submission
	// SCRAM, if not nil, lets clients of Submission prove passwords without
	// showing them.
	SCRAM sasl.Users
	// Tokens, if not nil, lets the users of SCRAM log in with OAuth tokens too.
	Tokens sasl.Tokens
	// Revoked, if not nil, tells whether a login of this user from this address does
	// not hold any more. Server.Recheck asks it of all connections.
	Revoked func(from netip.Addr, user auth.User) bool

	// Open opens the folder that a user's new mail goes to. release gives it
	// back; it is called even if the delivery fails, but not after an error.
	Open     func(context.Context, auth.User) (dirs delivery.Dirs, release func(), err error)
	Delivery *delivery.Options
	// Room, if not nil, returns an error whose delivery.CauseOf is OverQuota or TooBig if
	// the user's quota has no room for one more message of so many bytes. It is
	// asked at RCPT; when the message is there, its folder is (delivery.Dirs).
	Room func(ctx context.Context, u auth.User, size int64) error

	// Reserve is how many bytes have to stay free on a user's file system
	// after a delivery.
	Reserve uint64
	// FreeSpace, if not nil, tells at MAIL how many bytes are free where most
	// mail lies, so that nobody sends what cannot be stored.
	FreeSpace func() (uint64, error)

	// TLS is for STARTTLS, and for listeners whose connections begin with TLS.
	// nil: there is neither.
	TLS *tls.Config
	// PlaintextFrom are the peers that may log in without TLS. Connections
	// over Unix sockets always may.
	PlaintextFrom []netip.Prefix

	BareNewline BareNewline

	// Relay, if not nil, takes what users submit for other domains. Without it
	// these are refused.
	Relay *relay.Relay

	// Connections counts those of all services; nil: of this one, by the
	// default limits.
	Connections *limit.Connections
	// Mail bounds what users send by Submission; nil: by the default limits.
	Mail     *limit.Mail
	Limits   Limits
	Timeouts Timeouts

	Now func() time.Time // for the date of Received; nil: time.Now
}

// Limits bound what clients can cost. A limit of 0 is the default.
type Limits struct {
	Message     int64 // octets of a message as sent, with CRLF line ends; 50 MiB
	Line        int   // octets of a line in a message; 1 MiB
	HeaderLines int   // lines of a message's header; 20,000
	Header      int   // octets of the header of a submitted message, which is held in memory; 1 MiB
	Received    int   // Received fields, one for each server that had the message; 100
	Recipients  int   // of a message; 1,000

	BadRecipients int   // refused recipients that end a connection of SMTP; 100
	DataRate      int64 // octets a second that a message must come with after Timeouts.Command; 500
}

// Limits that are the same for every server.
const (
	maxCommand   = 4096            // octets of a command line
	maxAuthLine  = 12288           // octets of an AUTH command or response (RFC 4954 section 4)
	badCommands  = 10              // commands answered by 5xx, other than RCPT, that end a connection of SMTP
	authFails    = 3               // failed logins that end a connection
	writeTimeout = 2 * time.Minute // for a client to take a reply
)

// Timeouts end connections that nothing comes from. A time of 0 is the default.
type Timeouts struct {
	Command time.Duration // for a command to come (RFC 5321 4.5.3.2.7: at least 5 min); 5 min
	TLS     time.Duration // for a TLS handshake; 30 s
	Session time.Duration // of a connection; 2 h
	// Greet is how long a client of an MX server is made to wait for the
	// greeting; one that speaks before is sent away. 0: it is greeted at once.
	Greet time.Duration
	// Tarpit is the longest that a client waits for the answer to one of many
	// bad commands; 5 s.
	Tarpit time.Duration
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Connections == nil {
		c.Connections = limit.New(limit.Limits{})
	}
	if c.Mail == nil {
		c.Mail = limit.NewMail(0, 0)
	}
	l := &c.Limits
	l.Message = cmp.Or(l.Message, 50<<20)
	l.Line = cmp.Or(l.Line, 1<<20)
	l.HeaderLines = cmp.Or(l.HeaderLines, 20_000)
	l.Header = cmp.Or(l.Header, 1<<20)
	l.Received = cmp.Or(l.Received, 100)
	l.Recipients = cmp.Or(l.Recipients, 1000)
	l.BadRecipients = cmp.Or(l.BadRecipients, 100)
	l.DataRate = cmp.Or(l.DataRate, 500)
	t := &c.Timeouts
	t.Command = cmp.Or(t.Command, 5*time.Minute)
	t.TLS = cmp.Or(t.TLS, 30*time.Second)
	t.Session = cmp.Or(t.Session, 2*time.Hour)
	t.Tarpit = cmp.Or(t.Tarpit, 5*time.Second)
}
