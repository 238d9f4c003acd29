package smtp

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"maildird/auth"
)

// recipients says who gets mail for an address.
type recipients struct {
	users      Directory
	domains    map[string]string // by canonical form: as configured
	hostname   string            // canonical
	postmaster string
}

func newRecipients(cfg *Config) recipients {
	r := recipients{
		users: cfg.Users, domains: map[string]string{},
		hostname: canonicalDomain(cfg.Hostname), postmaster: cfg.Postmaster,
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

// find returns whose an address is. The error is an SMTPError.
func (r *recipients) find(a address, k Kind) (target, error) {
	local := lower(a.local)
	postmaster := local == "postmaster" || local == "abuse"
	domain, ours := "", a.domain == ""
	if !ours {
		canonical := canonicalDomain(a.domain)
		domain, ours = r.domains[canonical]
		if !ours && !(postmaster && canonical == r.hostname) {
			return target{}, notOurs(k)
		}
	}
	if local == "postmaster" {
		// RFC 5321 section 4.5.1
		return r.findPostmaster()
	}
	if t, ok := r.lookup(local, domain); ok {
		return t, nil
	}
	if postmaster {
		return r.findPostmaster()
	}
	if name, _, _ := strings.Cut(local, "+"); r.leftOut(local, domain) || r.leftOut(name, domain) {
		return target{}, refusal(451, code3{4, 3, 5}, "What is set up for this user cannot be used now, try again later")
	}
	return target{}, refusal(550, code3{5, 1, 1}, "There is no such user here")
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

// lookup finds a user by the local part in a domain of ours, or without one.
// user+detail is user.
func (r *recipients) lookup(local, domain string) (target, bool) {
	if u, ok := r.user(local, domain); ok {
		return target{u, u.Name}, true
	}
	name, detail, ok := strings.Cut(local, "+")
	if !ok {
		return target{}, false
	}
	u, ok := r.user(name, domain)
	if !ok {
		return target{}, false
	}
	at := strings.LastIndexByte(u.Name, '@')
	a := address{u.Name[:max(at, 0)] + "+" + detail, u.Name[at+1:]}
	return target{u, a.String()}, true
}

func (r *recipients) user(local, domain string) (auth.User, bool) {
	// A quoted local part can hold an "@"; no user's does.
	if local == "" || strings.IndexByte(local, '@') >= 0 || !utf8.ValidString(local) {
		return auth.User{}, false
	}
	if domain != "" {
		local += "@" + domain
	}
	return r.users.Lookup(local)
}

// leftOut tells whether there is a user of that address whom the users file
// describes wrongly: his mail is not to be sent back.
func (r *recipients) leftOut(local, domain string) bool {
	if domain != "" {
		local += "@" + domain
	}
	return r.users.LeftOut(local)
}

// findPostmaster: the mail of the postmaster is never refused for good.
func (r *recipients) findPostmaster() (target, error) {
	u, ok := r.users.Lookup(r.postmaster)
	if !ok {
		return target{}, refusal(451, code3{4, 3, 5}, "The mailbox of the postmaster is not set up yet")
	}
	return target{u, u.Name}, nil
}

// own tells whether mail for an address comes to this user, who then may use
// it as a sender.
func (r *recipients) own(u *auth.User, a address) bool {
	t, err := r.find(a, Submission)
	return err == nil && t.user.Name == u.Name
}
