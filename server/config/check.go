package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"maildird/maildir/compress"
	"maildird/maildir/folder"
)

// checker converts a file to a Config and collects its problems.
type checker struct {
	path, dir string
	text      []byte
	problems  []error
}

// wrong adds a problem with a setting ("mail.layout").
func (c *checker) wrong(key, format string, args ...any) {
	where := c.path
	line := c.line(key)
	if i := strings.LastIndexByte(key, '.'); line == 0 && i > 0 {
		line = c.line(key[:i]) // where a missing setting belongs
	}
	if line > 0 {
		where = fmt.Sprintf("%s:%d", c.path, line)
	}
	c.problems = append(c.problems, fmt.Errorf("%s: %s: %s", where, key, fmt.Sprintf(format, args...)))
}

// line returns the line on which a key of a table is set, 0 if it is not found. Since the file
// has been parsed, it only looks for the simple forms, not for dotted or quoted keys.
func (c *checker) line(key string) int {
	table, name := "", key
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		table, name = key[:i], key[i+1:]
	}
	in, header := "", 0
	for i, line := range bytes.Split(c.text, []byte("\n")) {
		s := strings.TrimSpace(string(line))
		if rest, ok := strings.CutPrefix(s, "["); ok {
			in, _, _ = strings.Cut(rest, "]")
			if in = strings.TrimSpace(in); in == key {
				header = i + 1
			}
			continue
		}
		k, _, found := strings.Cut(s, "=")
		if found && in == table && strings.TrimSpace(k) == name {
			return i + 1
		}
	}
	return header
}

func (c *checker) abs(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// unlessFalse returns a setting that is true by default.
func unlessFalse(b *bool) bool { return b == nil || *b }

func (c *checker) check(f *file) *Config {
	cfg := &Config{
		Path: c.path, CacheDir: c.abs(f.CacheDir),
		TLS:  TLS{Cert: c.abs(f.TLS.Cert), Key: c.abs(f.TLS.Key)},
		Auth: Auth{Users: c.abs(f.Auth.Users), Aliases: c.abs(f.Auth.Aliases)},
		SMTP: SMTP{
			BareNewline: c.choice("smtp.bare_newline", f.SMTP.BareNewline, "normalize", "reject"),
			GreetDelay:  c.duration("smtp.greet_delay", f.SMTP.GreetDelay, maxGreetDelay),
		},
		IMAP:   IMAP{Rev2: unlessFalse(f.IMAP.Rev2), Unauthenticate: unlessFalse(f.IMAP.Unauthenticate), UIDOnly: f.IMAP.UIDOnly, SubmitUsers: f.IMAP.SubmitUsers},
		Limits: c.limits(f),
	}
	var ok bool
	if cfg.Hostname, ok = DNSName(f.Hostname); !ok {
		c.wrong("hostname", "%q is not a host name; set the name of this server, such as \"mail.example.org\"", f.Hostname)
	}
	c.domains(cfg, f)
	c.mail(cfg, f)
	c.cache(cfg)
	if f.Auth.Users == "" {
		c.wrong("auth.users", "missing: the file with the users and their passwords")
	}
	for _, s := range f.Auth.PlaintextFrom {
		cfg.Auth.PlaintextFrom = append(cfg.Auth.PlaintextFrom, c.prefix("auth.plaintext_from", s))
	}
	c.oauth(cfg, f.Auth.OAuth)
	if (f.TLS.Cert == "") != (f.TLS.Key == "") {
		c.wrong("tls", "cert and key must be set together: set both, or neither for a server without TLS")
	}
	c.listen(cfg, f)
	c.relay(cfg, f.Relay)
	c.log(cfg, f)
	for _, a := range cfg.Debug.Pprof {
		host, _, _ := net.SplitHostPort(a.Address)
		if ip, err := netip.ParseAddr(host); a.Network == "tcp" && (err != nil || !ip.IsLoopback()) {
			c.wrong("debug.pprof", "%q is not a loopback address, such as \"127.0.0.1:6060\"", a.Address)
		}
	}
	return cfg
}

// cache refuses a cache directory that contains the users' mail, the settings or the users file,
// because it can be deleted.
func (c *checker) cache(cfg *Config) {
	if cfg.CacheDir == "" {
		return
	}
	for _, other := range []struct{ what, dir string }{
		{"the users' mail", cfg.Mail.Location.Fixed()}, {"this file", c.dir}, {"the users file", filepath.Dir(cfg.Auth.Users)},
	} {
		if below, err := filepath.Rel(cfg.CacheDir, other.dir); err == nil && filepath.IsLocal(below) {
			c.wrong("cache_dir", "%q contains %s, but a cache can be deleted: give it a directory of its own", cfg.CacheDir, other.what)
			return
		}
	}
}

func (c *checker) domains(cfg *Config, f *file) {
	if len(f.Domains) == 0 {
		c.wrong("domains", "missing: the domains to accept mail for, such as [\"example.org\"]")
	}
	seen := map[string]bool{}
	for _, d := range f.Domains {
		d = strings.ToLower(d)
		dns, ok := DNSName(d)
		if !ok {
			c.wrong("domains", "%q is not a domain", d)
		}
		if seen[dns] {
			c.wrong("domains", "%q is listed twice", d)
		}
		seen[dns] = ok
		cfg.Domains = append(cfg.Domains, d)
	}
	cfg.Postmaster = f.Postmaster
	a, err := mail.ParseAddress(f.Postmaster)
	switch {
	case f.Postmaster == "":
		c.wrong("postmaster", "missing: the user who receives mail for postmaster and abuse, which every mail server must accept (RFC 5321 section 4.5.1)")
	case err != nil || a.Address != f.Postmaster:
		c.wrong("postmaster", "%q is not an address", f.Postmaster)
	case !slices.Contains(cfg.Domains, strings.ToLower(f.Postmaster[strings.LastIndexByte(f.Postmaster, '@')+1:])):
		c.wrong("postmaster", "%q is not in one of the domains; it must be a user of this server", f.Postmaster)
	}
}

func (c *checker) mail(cfg *Config, f *file) {
	m := &cfg.Mail
	loc, err := parseLocation(f.Mail.Location, c.dir)
	if err != nil {
		c.wrong("mail.location", "%v", err)
	}
	m.Location = loc
	m.Fsync = c.choice("mail.fsync", f.Mail.Fsync, "always", "never") == "always"
	if m.Compress, err = compress.ParseFormat(f.Mail.Compress); err != nil {
		c.wrong("mail.compress", "%v", err)
	}
	if m.Compress != compress.None && cfg.Limits.MessageSize > compress.Limit {
		c.wrong("limits.message_size", "is more than %d, the limit for compressed files", compress.Limit)
	}
	m.Reserve = c.size("mail.reserve", f.Mail.Reserve, 64<<20, 0)
	m.Quota, m.QuotaMessages = c.size("mail.quota", f.Mail.Quota, 0, 0), f.Mail.Messages
	if m.QuotaMessages < 0 {
		c.wrong("mail.quota_messages", "%d is negative; 0 means no limit", m.QuotaMessages)
	}
	sep := f.Mail.Separator
	if sep == "" {
		sep = "/"
	}
	if sep != "/" && sep != "." {
		c.wrong("mail.separator", "%q is neither \"/\" nor \".\"", sep)
		sep = "/"
	}
	if p := f.Mail.Prefix; p != "" && !strings.HasSuffix(p, sep) {
		c.wrong("mail.prefix", "%q does not end in the separator %q", p, sep)
	}
	use := usualNames
	if f.Mail.SpecialUse != nil {
		use = f.Mail.SpecialUse
	}
	for name, attr := range use {
		if !slices.Contains(specialUse, attr) {
			c.wrong("mail.special_use", "%q for %q is not one of %s", attr, name, strings.Join(specialUse, " "))
		}
	}
	m.Folder = folder.Options{
		Layout:    c.choice("mail.layout", f.Mail.Layout, "maildir++", "fs"),
		Separator: sep[0], Prefix: f.Mail.Prefix, SpecialUse: use, Fsync: m.Fsync,
	}
	m.Defaults = standardFolders
}

// maxMessageSize keeps multiples of it within an int64.
const maxMessageSize = 1 << 40

func (c *checker) limits(f *file) Limits {
	l := Limits{
		Connections:          c.positive("limits.connections", f.Limits.Connections, 10_000),
		ConnectionsPerIP:     c.positive("limits.connections_per_ip", f.Limits.ConnectionsPerIP, 100),
		ConnectionsPerUser:   c.positive("limits.connections_per_user", f.Limits.ConnectionsPerUser, 50),
		ConnectionsPerMinute: c.positive("limits.connections_per_minute", f.Limits.PerMinute, 600),
		MessageSize:          c.size("limits.message_size", f.Limits.MessageSize, 50<<20, 1),
		Recipients:           c.positive("limits.recipients", f.Limits.Recipients, 1000),
		MessagesPerHour:      c.positive("limits.messages_per_hour", f.Limits.MessagesPerHour, 1000),
		RecipientsPerHour:    c.positive("limits.recipients_per_hour", f.Limits.RecipientsPerHour, 10_000),
	}
	if l.MessageSize > maxMessageSize {
		c.wrong("limits.message_size", "is more than 1TiB")
	}
	return l
}

func (c *checker) listen(cfg *Config, f *file) {
	l := &cfg.Listen
	type owner struct {
		address Address
		key     string
	}
	var taken []owner
	for _, s := range []struct {
		key string
		in  any
		out *[]Address
	}{
		{"listen.smtp", f.Listen.SMTP, &l.SMTP},
		{"listen.submission", f.Listen.Submission, &l.Submission},
		{"listen.submissions", f.Listen.Submissions, &l.Submissions},
		{"listen.lmtp", f.Listen.LMTP, &l.LMTP},
		{"listen.imap", f.Listen.IMAP, &l.IMAP},
		{"listen.imaps", f.Listen.IMAPS, &l.IMAPS},
		{"debug.pprof", f.Debug.Pprof, &cfg.Debug.Pprof},
	} {
		*s.out = c.addresses(s.key, s.in)
		if (s.key == "listen.submissions" || s.key == "listen.imaps") && len(*s.out) > 0 && cfg.TLS.Cert == "" {
			c.wrong(s.key, "needs a certificate: set tls.cert and tls.key")
		}
		for _, a := range *s.out {
			for _, other := range taken {
				if a == other.address && !strings.HasSuffix(a.Address, ":0") {
					c.wrong(s.key, "%q is already an address of %s", a.Address, other.key)
				} else if overlap(a, other.address) {
					c.wrong(s.key, "%q has the same port as %q, an address of %s", a.Address, other.address.Address, other.key)
				}
			}
			taken = append(taken, owner{a, s.key})
		}
	}
	if len(l.SMTP)+len(l.Submission)+len(l.Submissions)+len(l.LMTP)+len(l.IMAP)+len(l.IMAPS) == 0 {
		c.wrong("listen", "no service has an address to listen on")
	}
}

func (c *checker) log(cfg *Config, f *file) {
	cfg.Log.Format = c.choice("log.format", f.Log.Format, "text", "json")
	switch c.choice("log.level", f.Log.Level, "info", "debug", "warn", "error") {
	case "debug":
		cfg.Log.Level = slog.LevelDebug
	case "warn":
		cfg.Log.Level = slog.LevelWarn
	case "error":
		cfg.Log.Level = slog.LevelError
	}
}
