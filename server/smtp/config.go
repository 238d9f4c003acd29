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
	"maildird/server/relay"
	"maildird/server/sasl"
)

// Kind is the purpose of a server.
type Kind int

// The kinds of servers.
const (
	MX         Kind = iota // accepts mail for our users from anybody
	Submission             // accepts mail from our users, after AUTH
	LMTP                   // accepts mail from a trusted relay, with a reply for each recipient
)

// String returns the name of the kind in the log.
func (k Kind) String() string {
	switch k {
	case Submission:
		return "submission"
	case LMTP:
		return "lmtp"
	}
	return "smtp"
}

// BareNewline is the treatment of a CR or LF by itself (VU#302671).
type BareNewline int

const (
	// Normalize accepts an LF without CR as the end of a line, but never of DATA, and keeps a
	// CR without LF. Postfix 3.9 does the same.
	Normalize BareNewline = iota
	// Reject refuses a message that contains one (550 5.5.2), and closes the connection after a command.
	Reject
)

// Directory finds users. It must be safe for concurrent use.
type Directory interface {
	// Lookup finds a user by his full address, or by a local part that only one user
	// has. It ignores case.
	Lookup(address string) (auth.User, bool)
	// LeftOut reports whether an address that Lookup does not find belongs to a user who cannot
	// be served at the moment.
	LeftOut(address string) bool
	// Empty reports whether there are no users at all.
	Empty() bool
}

// Config holds the settings of a Server. Limits and timeouts that are zero get their defaults.
type Config struct {
	Log      *slog.Logger // nil for no log
	Hostname string       // of this server, in greetings and Received
	Domains  []string     // for which this server accepts mail
	// Postmaster is the address of the user who gets the mail for postmaster and abuse.
	Postmaster string

	Users Directory
	// Aliases, if not nil, decides who gets the mail for an address. Otherwise the users
	// and the postmaster do.
	Aliases *aliases.Aliases
	Logins  sasl.Logins // for Submission
	// Revoked, if not nil, reports whether a login of this user from this address is no longer
	// valid. Server.Recheck calls it for every connection.
	Revoked func(from netip.Addr, user auth.User) bool

	// Open opens the folder for new mail of a user. The caller must call release, even if the
	// delivery fails, unless Open returned an error.
	Open     func(context.Context, auth.User) (dirs delivery.Dirs, release func(), err error)
	Delivery *delivery.Options
	// Room, if not nil, returns an error if the user's quota has no room for so many copies of a
	// message of size bytes; its delivery.CauseOf is OverQuota or TooBig. Room is called at RCPT.
	// Once the message has arrived, its folder is asked (delivery.Dirs) if there is only one copy,
	// or each recipient has a reply.
	Room func(ctx context.Context, u auth.User, size int64, copies int) error

	// Reserve is the number of bytes that must remain free on a user's file
	// system after a delivery.
	Reserve uint64
	// FreeSpace, if not nil, returns the number of free bytes where most mail is stored. It is
	// called at MAIL, so that clients do not send what cannot be stored.
	FreeSpace func() (uint64, error)

	// TLS is used for STARTTLS and by listeners with implicit TLS. If nil,
	// neither is available.
	TLS *tls.Config
	// PlaintextFrom are the networks whose clients may log in without TLS. Clients that connect
	// through a Unix socket always may.
	PlaintextFrom []netip.Prefix

	BareNewline BareNewline

	// Relay, if not nil, sends what users submit for other domains. If nil,
	// such recipients are refused.
	Relay *relay.Relay

	// Connections counts the connections of all services. If nil, this server counts only its
	// own, with the default limits.
	Connections *limit.Connections
	// Mail limits what users send by Submission; nil for the default limits
	Mail     *limit.Mail
	Limits   Limits
	Timeouts Timeouts

	Now func() time.Time // for the date of Received; nil for time.Now
}

// Limits bound what a client can cost. A limit of 0 means the default, which is the last
// number of each comment.
type Limits struct {
	Message     int64 // octets of a message with CRLF line ends; 50 MiB
	Line        int   // octets of a line in a message; 1 MiB
	HeaderLines int   // lines of the header of a message; 20,000
	Header      int   // octets of the header of a submitted message, which is held in memory; 1 MiB
	Received    int   // Received fields, of which each server on the way adds one; 100
	Recipients  int   // recipients of a message; 1,000

	BadRecipients int   // refused recipients that end an SMTP connection; 100
	DataRate      int64 // minimum octets per second of a message once Timeouts.Command has passed; 500
}

// These limits are the same for every server.
const (
	maxCommand      = 4096            // octets of a command line
	maxAuthLine     = 12288           // octets of an AUTH command or response (RFC 4954 section 4)
	maxBadCommands  = 10              // commands with a 5xx reply, other than RCPT, that end an SMTP connection
	maxVain         = 100             // commands that lead to no message before each counts as one of these
	maxFailedLogins = 3               // failed logins that end a connection
	writeTimeout    = 2 * time.Minute // within which the client must accept a reply
)

// Timeouts end connections whose clients are silent. A timeout of 0 means the default, which
// each comment gives last.
type Timeouts struct {
	Command time.Duration // until the next command (RFC 5321 4.5.3.2.7: at least 5 min); 5 min
	TLS     time.Duration // for a TLS handshake; 30 s
	Session time.Duration // of a connection; 2 h
	// Greet is how long a client of an MX server must wait for the greeting. One that sends
	// anything before is disconnected. 0 means that there is no wait.
	Greet time.Duration
	// Tarpit is the maximum delay of the reply to a client that sends many bad commands; 5 s.
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
