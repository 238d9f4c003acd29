package smtp

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"maildird/auth"
	"maildird/auth/aliases"
)

// recipients decides who gets the mail for an address.
type recipients struct {
	users    Directory
	aliases  *aliases.Aliases
	domains  map[string]string // those configured, by canonical form
	hostname string            // canonical
}

func newRecipients(cfg *Config) recipients {
	r := recipients{users: cfg.Users, aliases: cfg.Aliases, domains: map[string]string{}, hostname: canonicalDomain(cfg.Hostname)}
	if r.aliases == nil {
		r.aliases = aliases.None(cfg.Domains, cfg.Users, cfg.Postmaster)
	}
	for _, d := range cfg.Domains {
		r.domains[canonicalDomain(d)] = d
	}
	return r
}

// canonicalDomain returns the form in which domains are compared: A-labels in lower case. It
// distinguishes letters that only look alike.
func canonicalDomain(d string) string {
	if checkUTF8(d, false) != nil {
		a, err := idna.Lookup.ToASCII(d)
		if err != nil {
			return ""
		}
		d = a
	}
	return lower(d)
}

// lower is strings.ToLower for ASCII only.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// find returns the targets of an address: a user, or those that an alias leads to. The
// error is an SMTPError.
func (r *recipients) find(a address, k Kind) ([]target, error) {
	found, err := r.resolve(a, k)
	if err != nil {
		return nil, err
	}
	targets := make([]target, len(found.Targets))
	for i, t := range found.Targets {
		at := strings.LastIndexByte(t.User.Name, '@')
		targets[i] = target{user: t.User, address: t.User.Name}
		if t.Detail != "" {
			targets[i].address = address{t.User.Name[:max(at, 0)] + t.Detail, t.User.Name[at+1:]}.String()
		}
		if found.Alias {
			targets[i].alias = a.String()
		}
	}
	return targets, nil
}

// resolve is find without the copies of addresses.
func (r *recipients) resolve(a address, k Kind) (aliases.Found, error) {
	domain, ours := r.domainOf(a)
	if !ours {
		return aliases.Found{}, notOurs(k)
	}
	found, err := r.aliases.Resolve(lower(a.local), domain)
	switch {
	case errors.Is(err, aliases.ErrNobody) && r.users.Empty():
		// The users file may have been emptied by mistake or by a full disk, for which
		// no mail should bounce.
		return aliases.Found{}, refusal(451, code3{4, 3, 5}, "No users are set up yet")
	case errors.Is(err, aliases.ErrNobody):
		return aliases.Found{}, refusal(550, code3{5, 1, 1}, "No such user here")
	case errors.Is(err, aliases.ErrPostmaster):
		return aliases.Found{}, refusal(451, code3{4, 3, 5}, "Postmaster mailbox is not set up yet")
	case err != nil:
		return aliases.Found{}, refusal(451, code3{4, 3, 5}, "Address cannot receive mail at the moment, try again later")
	}
	return found, nil
}

// domainOf reports whether an address is one of ours, and returns its domain as configured: ""
// if it has no domain, and for the addresses that exist at the host name.
func (r *recipients) domainOf(a address) (domain string, ours bool) {
	if a.domain == "" {
		return "", true
	}
	canonical := canonicalDomain(a.domain)
	if domain, ours = r.domains[canonical]; ours {
		return domain, true
	}
	local := lower(a.local)
	return "", canonical == r.hostname && (local == "postmaster" || local == "abuse")
}

func notOurs(k Kind) error {
	if k == Submission {
		return refusal(550, code3{5, 7, 1}, "Relaying to other domains is not configured on this server")
	}
	return refusal(550, code3{5, 7, 1}, "Relaying denied, not a domain of this server")
}

// own reports whether a user may use an address as a sender: he gets its mail, alone or with
// others, and it does not belong to another user who merely lets him have copies.
func (r *recipients) own(u *auth.User, a address) bool {
	found, err := r.resolve(a, Submission)
	return err == nil && (found.Owner == "" || found.Owner == u.Name) &&
		slices.ContainsFunc(found.Targets, func(t aliases.Target) bool { return t.User.Name == u.Name })
}
