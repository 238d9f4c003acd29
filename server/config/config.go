// Package config reads and checks maildird.toml.
//
// A setting is in five places: in Config (config.go) as the program uses it, in
// file (file.go) as it is written, in check (check.go), which turns the one into
// the other and says what is wrong, in the template that "maildird init" writes,
// and in the README. Tests compare the template with file, and the README with the
// template. What a setting does is up to package server, which passes it on.
// syntax.go words the errors of the TOML library.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/folder"
)

// Config is the settings of a server, checked, with all paths absolute.
type Config struct {
	Path string // of the file

	Hostname   string   // as in the DNS
	Domains    []string // lower case; the first is that of users without one
	CacheDir   string
	Postmaster string

	Mail   Mail
	Auth   Auth
	TLS    TLS
	Listen Listen
	Relay  *Relay // nil: nobody sends mail to other domains
	SMTP   SMTP
	IMAP   IMAP
	Limits Limits
	Log    Log
	Debug  Debug
}

// Mail says where users' mail is.
type Mail struct {
	Location Location
	Folder   folder.Options
	Defaults []folder.Default
	Fsync    bool
	Compress compress.Format // of the files that are written
	Reserve  int64           // bytes that stay free on the disk: below, mail is refused for now
	// Quota is the bytes, and QuotaMessages the messages, that each user without
	// a quota of his own may have; 0: no limit.
	Quota         int64
	QuotaMessages int64
}

// Auth says who the users are.
type Auth struct {
	Users         string // the users file
	Aliases       string // the aliases file; "": there is none
	PlaintextFrom []netip.Prefix
	OAuth         *OAuth // nil: no tokens are taken
}

// OAuth says whose OAuth 2.0 access tokens prove who a user is. JWKS or
// Introspection is set, not both.
type OAuth struct {
	Issuer, Audience       string
	JWKS                   string // an https URL, or the absolute path of a file
	Introspection          string // an https URL
	ClientID, ClientSecret string // for Introspection
	UsernameClaim          string
	Scope                  string // that tokens must have; "": any
	Configuration          string // URL of the issuer's OpenID configuration, for clients
}

// TLS is the certificate. Both empty: there is no TLS.
type TLS struct{ Cert, Key string }

// Listen is the addresses of each service.
type Listen struct {
	SMTP, Submission, Submissions, LMTP, IMAP, IMAPS []Address
}

// Address is one address to listen on: a TCP address, or a Unix socket.
type Address struct {
	Network string // "tcp" or "unix"
	Address string
}

// Relay is the server that sends what users submit for other domains.
type Relay struct {
	Address        string // "host:port"
	TLS            bool   // from the start; false: by STARTTLS
	User, Password string // to log in with; "": there is no login
	CA             string // a file with roots to trust instead of the system's; "": the system's
}

// SMTP is what concerns SMTP, submission and LMTP.
type SMTP struct {
	BareNewline string        // "normalize" or "reject"
	GreetDelay  time.Duration // that strangers wait for the greeting
}

// IMAP is what concerns IMAP.
type IMAP struct {
	Rev2           bool     // announce IMAP4rev2
	Unauthenticate bool     // let clients log in as another user on the same connection
	UIDOnly        bool     // announce UIDONLY
	SubmitUsers    []string // who submit for others, and may use their URLs for that
}

// Limits bound what clients can cost.
type Limits struct {
	Connections        int
	ConnectionsPerIP   int
	ConnectionsPerUser int
	// ConnectionsPerMinute is how many connections one address may open in a
	// minute.
	ConnectionsPerMinute int
	MessageSize          int64
	Recipients           int // of one message
	// MessagesPerHour and RecipientsPerHour are what one user may send by
	// submission.
	MessagesPerHour   int
	RecipientsPerHour int
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Debug is for people who look into the running program.
type Debug struct {
	Pprof []Address // of this machine only; empty: nowhere
}
