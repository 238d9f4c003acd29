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
	"maildird/server/login"
	"maildird/server/sasl"
)

// Config is the settings of a Server. Zero values of limits and times mean the
// defaults, which setDefaults sets.
type Config struct {
	Log  *slog.Logger
	Auth login.Authenticator
	// SCRAM, if not nil, lets clients prove passwords without showing them.
	SCRAM sasl.Users
	// Tokens, if not nil, lets the users of SCRAM log in with OAuth tokens too.
	Tokens sasl.Tokens
	// OpenAccount opens the Maildir of a user who logged in. The session
	// releases it.
	OpenAccount func(context.Context, auth.User) (*maildir.Account, error)

	// Revoked, if not nil, tells whether a login of this user from this address does
	// not hold any more. Server.Recheck asks it of all sessions.
	Revoked func(from netip.Addr, user auth.User) bool

	// Hostname is the server's name, by which URLs refer to it.
	Hostname string
	// Lookup finds a user by name, and OpenExisting opens his Maildir for a URL
	// of his that another one uses: none is made. Without them there is no
	// URLAUTH (RFC 4467).
	Lookup       func(name string) (auth.User, bool)
	OpenExisting func(context.Context, auth.User) (*maildir.Account, error)
	// Submitters are the users who submit messages for others, and may use URLs
	// that are for submission.
	Submitters []string

	// TLS is for STARTTLS, and for listeners whose connections begin with TLS.
	// nil: there is neither.
	TLS *tls.Config
	// PlaintextFrom are the peers that may log in without TLS. Connections
	// over Unix sockets always may.
	PlaintextFrom []netip.Prefix

	// NoRev2 leaves IMAP4rev2 out of the capabilities.
	NoRev2 bool
	// NoUnauthenticate leaves UNAUTHENTICATE out (RFC 8437 section 8).
	NoUnauthenticate bool
	// UIDOnly has UIDONLY among the capabilities. It is for clients that do without
	// sequence numbers; "Microsoft Office 365" (the server by which Outlook for phones,
	// and the new one for Windows, read other servers; 15.20, 2025) turns on what is
	// announced, asks for messages by number all the same, and shows none.
	UIDOnly bool
	// AppendLimit is the octets of the biggest message that APPEND takes; 0: 50 MiB.
	AppendLimit int64
	// Postmaster is the address that users may write to, for /shared/admin of
	// METADATA (RFC 5464); "": it is not told.
	Postmaster string
	// ID is what the server tells of itself (RFC 2971), keys and values in turn.
	ID []string

	// Connections counts those of all services; nil: of this one, by the
	// default limits.
	Connections *limit.Connections
	Limits      Limits
	Timeouts    Timeouts
}

// Limits bound what clients can cost. A limit of 0 is the default.
type Limits struct {
	Watched int // mailboxes that one session watches by NOTIFY; 500
	// Contexts is how many results of SEARCH and SORT are kept up to date for one
	// session (RFC 5267), at least 1: each change of a message is compared with all
	// of them. 10, as in Dovecot.
	Contexts int
}

// Limits that are the same for every server.
const (
	badCommands  = 10              // in a row, that end a connection
	loginFails   = 4               // failed logins that end a connection
	maxDepth     = 50              // nested parentheses in one command
	writeTimeout = 2 * time.Minute // without the client taking any octet
)

// Timeouts end connections that nothing comes from. A time of 0 is the default.
type Timeouts struct {
	Login time.Duration // from the start of a connection to its login; 2 min
	Idle  time.Duration // between commands after login (RFC 9051 5.4: at least 30 min); 31 min
	Read  time.Duration // inside a command, without any octet coming; 5 min
	// StillHere is how often a quiet IDLE is told that the connection lives; 2 min
	StillHere time.Duration
	// Progress is how often the client of a long command is told how far it is; 10 s
	Progress time.Duration
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.AppendLimit = cmp.Or(c.AppendLimit, 50<<20)
	if c.ID == nil {
		c.ID = []string{"name", "maildird"}
	}
	if c.Connections == nil {
		c.Connections = limit.New(limit.Limits{})
	}
	l := &c.Limits
	l.Watched = cmp.Or(l.Watched, 500)
	l.Contexts = cmp.Or(l.Contexts, 10)
	t := &c.Timeouts
	t.Login = cmp.Or(t.Login, 2*time.Minute)
	t.Idle = cmp.Or(t.Idle, 31*time.Minute)
	t.Read = cmp.Or(t.Read, 5*time.Minute)
	t.StillHere = cmp.Or(t.StillHere, 2*time.Minute)
	t.Progress = cmp.Or(t.Progress, 10*time.Second)
}

// lexLimits are the limits of a command before or after login.
func (c *Config) lexLimits(loggedIn bool) syntax.Limits {
	if !loggedIn { // the longest ID fits into a line (RFC 2971 section 3.3)
		return syntax.Limits{Line: 32 << 10, Literal: 4 << 10, Skip: 16 << 10, Depth: maxDepth}
	}
	return syntax.Limits{Line: 256 << 10, Literal: 128 << 10, Skip: 4 * c.AppendLimit, Depth: maxDepth}
}
