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
	aliases  *aliases.Aliases
	domains  map[string]string // by canonical form: as configured
	hostname string            // canonical
}

func newRecipients(cfg *Config) recipients {
	r := recipients{aliases: cfg.Aliases, domains: map[string]string{}, hostname: canonicalDomain(cfg.Hostname)}
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
	local := lower(a.local)
	domain, ours := "", a.domain == ""
	if !ours {
		canonical := canonicalDomain(a.domain)
		domain, ours = r.domains[canonical]
		if postmaster := local == "postmaster" || local == "abuse"; !ours && !(postmaster && canonical == r.hostname) {
			return nil, notOurs(k)
		}
	}
	found, err := r.aliases.Resolve(local, domain)
	switch {
	case errors.Is(err, aliases.ErrNobody):
		return nil, refusal(550, code3{5, 1, 1}, "There is no such user here")
	case errors.Is(err, aliases.ErrPostmaster):
		return nil, refusal(451, code3{4, 3, 5}, "The mailbox of the postmaster is not set up yet")
	case err != nil:
		return nil, refusal(451, code3{4, 3, 5}, "What is set up for this address cannot be used now, try again later")
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

// elsewhere tells whether an address is of a domain that is not ours.
func (r *recipients) elsewhere(a address) bool {
	canonical := canonicalDomain(a.domain)
	if _, ours := r.domains[canonical]; ours || a.domain == "" {
		return false
	}
	local := lower(a.local)
	return canonical != r.hostname || local != "postmaster" && local != "abuse"
}

func notOurs(k Kind) error {
	if k == Submission {
		return refusal(550, code3{5, 7, 1}, "Relaying to other domains is not configured on this server")
	}
	return refusal(550, code3{5, 7, 1}, "Relaying denied, this is not a domain of ours")
}

// own tells whether mail for an address comes to this user, alone or beside others, who
// then may use it as a sender.
func (r *recipients) own(u *auth.User, a address) bool {
	targets, err := r.find(a, Submission)
	return err == nil && slices.ContainsFunc(targets, func(t target) bool { return t.user.Name == u.Name })
}
