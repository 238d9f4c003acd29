package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// relay is the table [relay].
type relay struct {
	Server   string `toml:"server"`
	User     string `toml:"user"`
	Password string `toml:"password"`
	CA       string `toml:"ca"`
}

func (c *checker) relay(cfg *Config, r *relay) {
	if r == nil {
		return
	}
	cfg.Relay = &Relay{User: r.User, Password: r.Password, CA: c.abs(r.CA)}
	if r.Server == "" {
		c.wrong("relay.server", "missing: the server that relays mail to other domains, such as %s", relayExample)
	} else if u, err := url.Parse(r.Server); err != nil {
		c.wrong("relay.server", "is not the URL of a server, such as %s", relayExample) // it may contain a password
	} else {
		cfg.Relay.Address, cfg.Relay.TLS = c.relayAddress(u, withoutLogin(r.Server)), u.Scheme == "smtps"
	}
	switch {
	case r.Password != "" && r.User == "":
		c.wrong("relay.user", "missing: the user whose password it is")
	case r.User != "" && r.Password == "":
		c.wrong("relay.password", "missing: user and password must be set together")
	case strings.ContainsRune(r.User+r.Password, 0):
		c.wrong("relay.password", "user or password contains a NUL")
	}
}

const relayExample = `"smtps://mail.isp.example:465" or "smtp://127.0.0.1:25"`

// withoutLogin returns the text of a URL for error messages, without anything that may be a
// login with a password, in any place: package url finds none in "smtp:alice:secret@host".
func withoutLogin(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s = "..." + s[at:]
	}
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		s = s[:end+1] + "..."
	}
	return s
}

// relayAddress returns host and port of the relay's URL. text is the URL for error messages.
func (c *checker) relayAddress(u *url.URL, text string) string {
	const key = "relay.server"
	host, ok := u.Hostname(), net.ParseIP(u.Hostname()) != nil
	if !ok {
		host, ok = DNSName(host)
	}
	switch port, err := strconv.ParseUint(u.Port(), 10, 16); {
	case u.Scheme != "smtp" && u.Scheme != "smtps", u.Opaque != "", strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		c.wrong(key, "%q is not the URL of a server, such as %s", text, relayExample)
	case u.User != nil:
		c.wrong(key, "%q contains a login: set relay.user and relay.password instead", text)
	case !ok:
		c.wrong(key, "%q has no host name or address, such as %s", text, relayExample)
	case err != nil || port == 0:
		c.wrong(key, "%q has no port number: usually 465 for smtps, 587 or 25 for smtp", text)
	}
	return net.JoinHostPort(host, u.Port())
}
