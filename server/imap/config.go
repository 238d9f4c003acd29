package imap

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"maildird/auth"
	"maildird/maildir"
	"maildird/server/imap/syntax"
	"maildird/server/limit"
	"maildird/server/sasl"
)

// Config holds the settings of a Server. Limits and timeouts that are zero get the
// defaults that setDefaults sets.
type Config struct {
	Log    *slog.Logger
	Logins sasl.Logins
	// OpenAccount opens the Maildir of a user who has logged in. The session releases
	// it.
	OpenAccount func(context.Context, auth.User) (*maildir.Account, error)

	// Revoked, if not nil, reports whether a login of this user from this address is no
	// longer valid. Server.Recheck calls it for every session.
	Revoked func(from netip.Addr, user auth.User) bool

	// Hostname is the name of this server in IMAP URLs.
	Hostname string
	// Lookup finds a user by name. OpenExisting opens the Maildir of a user whose URL
	// another user uses; it never creates one. If they are nil, URLAUTH (RFC 4467) is
	// not supported.
	Lookup       func(name string) (auth.User, bool)
	OpenExisting func(context.Context, auth.User) (*maildir.Account, error)
	// Submitters are the users who submit messages on behalf of others. Only they may
	// use URLs whose access is restricted to submission.
	Submitters []string

	// TLS is used for STARTTLS and by listeners with implicit TLS. If nil, neither is
	// available.
	TLS *tls.Config
	// PlaintextFrom are the networks whose clients may log in without TLS. Clients that
	// connect through a Unix socket always may.
	PlaintextFrom []netip.Prefix

	// NoRev2 leaves IMAP4rev2 out of the capabilities.
	NoRev2 bool
	// NoUnauthenticate leaves UNAUTHENTICATE out of the capabilities (RFC 8437 section
	// 8).
	NoUnauthenticate bool
	// UIDOnly announces UIDONLY, for clients that do without sequence numbers. It is
	// off by default because of "Microsoft Office 365" (15.20, 2025), the service
	// through which Outlook for phones and the new Outlook for Windows read other
	// servers: it enables whatever is announced, fetches messages by sequence number
	// all the same, and then shows none.
	UIDOnly bool
	// AppendLimit is the size of the largest message that APPEND accepts, in octets; 0
	// means 50 MiB.
	AppendLimit int64
	// Postmaster is the address that users can write to, returned as /shared/admin by
	// GETMETADATA (RFC 5464); "" means there is none.
	Postmaster string

	// Connections counts the connections of all services. If nil, this server counts
	// only its own, with the default limits.
	Connections *limit.Connections
	Limits      Limits
	Timeouts    Timeouts
}

// Limits bound what a client can cost. A limit of 0 means the default, which is the
// last number of each comment.
type Limits struct {
	Watched int // mailboxes that one session can watch with NOTIFY; 500
	// Contexts is how many SEARCH and SORT results one session can have kept up to date
	// (RFC 5267), at least 1; 10, as in Dovecot. Each change of a message is tested
	// against all of them.
	Contexts int
	// Sorting is how much memory the texts may take that all SORT and THREAD commands of one
	// user compare at the same time, in octets; 512 MiB.
	Sorting int64
}

// These limits are the same for every server.
const (
	maxBadCommands  = 10              // consecutive ones that end a connection
	maxFailedLogins = 4               // failed logins that end a connection
	maxDepth        = 50              // nested parentheses in one command
	writeTimeout    = 2 * time.Minute // within which the client must accept some output
)

// Timeouts end connections whose clients are silent. A timeout of 0 means the default,
// which each comment gives last.
type Timeouts struct {
	Login time.Duration // from the start of the connection to login; 2 min
	Idle  time.Duration // between commands after login (RFC 9051 5.4: at least 30 min); 31 min
	Read  time.Duration // inside a command, without any input; 5 min
	// StillHere is the interval of the untagged OK responses that keep a quiet IDLE
	// alive; 2 min
	StillHere time.Duration
	// Progress is the interval of the progress responses of a long command; 10 s
	Progress time.Duration
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.AppendLimit = cmp.Or(c.AppendLimit, 50<<20)
	if c.Connections == nil {
		c.Connections = limit.New(limit.Limits{})
	}
	l := &c.Limits
	l.Watched = cmp.Or(l.Watched, 500)
	l.Contexts = cmp.Or(l.Contexts, 10)
	l.Sorting = cmp.Or(l.Sorting, 512<<20)
	t := &c.Timeouts
	t.Login = cmp.Or(t.Login, 2*time.Minute)
	t.Idle = cmp.Or(t.Idle, 31*time.Minute)
	t.Read = cmp.Or(t.Read, 5*time.Minute)
	t.StillHere = cmp.Or(t.StillHere, 2*time.Minute)
	t.Progress = cmp.Or(t.Progress, 10*time.Second)
}

// lexLimits returns the limits of commands before or after login.
func (c *Config) lexLimits(loggedIn bool) syntax.Limits {
	if !loggedIn { // RFC 2971 section 3.3: even the longest ID fits into a line
		return syntax.Limits{Line: 32 << 10, Literal: 4 << 10, Skip: 16 << 10, Depth: maxDepth}
	}
	return syntax.Limits{Line: 256 << 10, Literal: 128 << 10, Skip: 4 * c.AppendLimit, Depth: maxDepth}
}
