package smtp

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"maildird/auth"
	"maildird/auth/aliases"
)

// recipients says who gets mail for an address.
type recipients struct {
	users    Directory
	aliases  *aliases.Aliases
	domains  map[string]string // by canonical form: as configured
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

// canonicalDomain is the form in which domains are compared: A-labels in lower
// case. Letters that only look alike differ in it.
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

// lower is strings.ToLower for ASCII alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// find returns whose an address is: one user's, or those an alias leads to. The error is
// an SMTPError.
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

// resolve is find for who does not need copies.
func (r *recipients) resolve(a address, k Kind) (aliases.Found, error) {
	domain, ours := r.domainOf(a)
	if !ours {
		return aliases.Found{}, notOurs(k)
	}
	found, err := r.aliases.Resolve(lower(a.local), domain)
	switch {
	case errors.Is(err, aliases.ErrNobody) && r.users.Empty():
		// The file was emptied by a slip, or a disk that is full: nobody's mail goes back for it.
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

// domainOf tells whether an address is one of ours, and in which domain, as that is
// configured: "" for a local part alone, and for those that the host itself has.
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

// own tells whether a user may use an address as a sender: mail for it comes to him,
// alone or beside others, and it is not another user's, who lets him have copies.
func (r *recipients) own(u *auth.User, a address) bool {
	found, err := r.resolve(a, Submission)
	return err == nil && (found.Owner == "" || found.Owner == u.Name) &&
		slices.ContainsFunc(found.Targets, func(t aliases.Target) bool { return t.User.Name == u.Name })
}
