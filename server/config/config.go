// Package config reads and validates maildird.toml.
//
// Each setting occurs in five places: in Config (config.go) as the program uses it, in
// file (file.go) as it is written, in check (check.go), which converts the latter to the
// former, has the defaults and reports problems, in the template that "maildird init" writes, and in the
// README. Tests compare the template with file, and the README with the template. Package
// server passes the settings on to the packages that implement them. syntax.go words the
// errors of the TOML library.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/folder"
)

// Config holds the validated settings of a server. All paths are absolute.
type Config struct {
	Path string // of the configuration file

	Hostname   string   // with A-labels
	Domains    []string // in lower case; users without a domain belong to the first
	CacheDir   string
	Postmaster string

	Mail   Mail
	Auth   Auth
	TLS    TLS
	Listen Listen
	Relay  *Relay // nil if mail to other domains is refused
	SMTP   SMTP
	IMAP   IMAP
	Limits Limits
	Log    Log
	Debug  Debug
}

// Mail says where and how users' mail is stored.
type Mail struct {
	Location Location
	Folder   folder.Options
	Defaults []folder.Default
	Fsync    bool
	Compress compress.Format // of new message files
	Reserve  int64           // bytes that must remain free on the disk; otherwise mail is temporarily refused
	// Quota and QuotaMessages limit the bytes and messages of each user who has no quota of his
	// own; 0 means no limit.
	Quota         int64
	QuotaMessages int64
}

// Auth says how users log in.
type Auth struct {
	Users         string // the users file
	Aliases       string // the aliases file; "" if there is none
	PlaintextFrom []netip.Prefix
	OAuth         *OAuth // nil if tokens are not accepted
}

// OAuth says which OAuth 2.0 access tokens are accepted. Either JWKS or Introspection
// is set, not both.
type OAuth struct {
	Issuer, Audience       string
	JWKS                   string // an https URL, or the absolute path of a file
	Introspection          string // an https URL
	ClientID, ClientSecret string // for Introspection
	UsernameClaim          string
	Scope                  string // that a token must have; "" if none is required
	Configuration          string // URL of the issuer's OpenID configuration, for clients
}

// TLS is the certificate. Both fields are empty if there is no TLS.
type TLS struct{ Cert, Key string }

// Listen lists the addresses of each service.
type Listen struct {
	SMTP, Submission, Submissions, LMTP, IMAP, IMAPS []Address
}

// Address is an address to listen on: a TCP address or a Unix socket.
type Address struct {
	Network string // "tcp" or "unix"
	Address string
}

// Relay is the server that delivers what users submit for other domains.
type Relay struct {
	Address        string // "host:port"
	TLS            bool   // implicit TLS; otherwise STARTTLS is used
	User, Password string // login; "" for none
	CA             string // file of CA certificates to trust; "" for the system's
}

// SMTP holds the settings of SMTP, submission and LMTP.
type SMTP struct {
	BareNewline string        // "normalize" or "reject"
	GreetDelay  time.Duration // that clients of SMTP must wait for the greeting
}

// IMAP holds the settings of IMAP.
type IMAP struct {
	Rev2           bool     // announce IMAP4rev2
	Unauthenticate bool     // let clients log in as another user on the same connection
	UIDOnly        bool     // announce UIDONLY
	SubmitUsers    []string // who submit mail for others, and may use URLs made for that purpose
}

// Limits bound what a client can cost.
type Limits struct {
	Connections        int
	ConnectionsPerIP   int
	ConnectionsPerUser int
	// ConnectionsPerMinute is the number of connections that an address may open per minute.
	ConnectionsPerMinute int
	MessageSize          int64
	Recipients           int // of a message
	// MessagesPerHour and RecipientsPerHour limit what a user may submit.
	MessagesPerHour   int
	RecipientsPerHour int
}

// Log says what is logged, and in which format.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Debug holds the settings for inspecting the running program.
type Debug struct {
	Pprof []Address // loopback only; empty for none
}
