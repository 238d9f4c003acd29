package aliases

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"maildird/auth"
)

// Reasons why nobody gets the mail for an address.
var (
	// ErrNobody is for an address that no user and no alias has.
	ErrNobody = errors.New("no user or alias has this address")
	// The others are temporary: someone has the address, but the operator has
	// to correct something.
	ErrUser       = errors.New("the users file has a line for this address that cannot be used")
	ErrPostmaster = errors.New("the postmaster is not a user")
	ErrAlias      = errors.New("the alias leads to somebody who does not exist")
)

const (
	// MaxUsers is the maximum number of users that an alias leads to, like
	// Postfix's virtual_alias_expansion_limit.
	MaxUsers = 1000
	// maxSize is the maximum number of addresses on the way to them. Each counts as often
	// as it is visited.
	maxSize = 10 * MaxUsers
	// maxDepth is the maximum number of consecutive aliases, which also limits the stack, like
	// Postfix's virtual_alias_recursion_limit.
	maxDepth = 1000
)

// Target is a user who gets the mail.
type Target struct {
	User   auth.User
	Detail string // "+detail" of the address, which is kept through aliases
}

// Found is who gets the mail for an address.
type Found struct {
	Targets []Target // at least one, without duplicate users
	Alias   bool     // the address is an alias
	// Owner is the name of the user who has the address himself, if an alias for it
	// leads to others too.
	Owner string
}

// Resolve determines who gets the mail for a local part in one of the domains, as configured.
// Without a domain, it is an address in the first domain, or the user who alone has the local
// part. The address is only compared. The error is one of those of this package. An alias
// leads to nobody unless it leads to everyone it names: otherwise one of them would not get
// the mail that was accepted.
func (a *Aliases) Resolve(local, domain string) (Found, error) {
	w := &walk{of: a, table: a.current()}
	r := &result{}
	w.address(address{auth.Fold(local), domain}, nil, r)
	if r.err != nil {
		return Found{}, r.err
	}
	return Found{r.targets, r.alias, r.owner}, nil
}

// walk follows aliases to users.
type walk struct {
	of    *Aliases
	table *table
	way   map[string]bool    // addresses that are currently being followed
	known map[string]*result // where entries lead, by address
	held  int                // number of targets in known

	note   bool      // collect faults
	faults []problem // what is wrong, with line numbers
}

// result is where an address leads.
type result struct {
	targets []Target
	users   map[string]bool // of targets; nil for the address of a single user
	shared  bool            // both are shared with another result
	alias   bool
	owner   string // see Found
	size    int    // addresses visited
	err     error  // why targets are missing; the first reason
}

// address adds the users who get the mail for an address: those of the address itself, or else
// of its name without the detail, the postmaster, or the catch-all of the domain, as in
// virtual(5). by is the entry that names the address, nil for the address to resolve.
func (w *walk) address(a address, by *entry, r *result) {
	switch r.size++; {
	case r.size > maxSize:
		w.tooFar(by, r)
		return
	case len(w.way) > maxDepth:
		w.fault(by, r, ErrAlias, "leads through more than %d aliases in a row", maxDepth)
		return
	}
	if w.name(a, "", by, r) {
		return
	}
	name, detail, ok := strings.Cut(a.local, "+")
	if ok && w.name(address{name, a.domain}, "+"+detail, by, r) {
		return
	}
	switch {
	case a.isPostmasters():
		w.postmaster(a, by, r)
	case w.leftOut(a), w.leftOut(address{name, a.domain}):
		w.fault(by, r, ErrUser, "the users file has a line for %s that cannot be used", a)
	case w.rest(a, by, r):
	case by != nil && a.domain == "":
		w.fault(by, r, ErrAlias, "%s is neither an alias nor the name of exactly one user", a)
	case by != nil:
		w.fault(by, r, ErrAlias, "%s is neither a user nor an alias", a)
	default:
		w.fault(nil, r, ErrNobody, "")
	}
}

// isPostmasters reports whether an address is one that every server must have (RFC 5321
// section 4.5.1, RFC 2142).
func (a address) isPostmasters() bool { return a.local == "postmaster" || a.local == "abuse" }

// name reports whether there is a user or an alias with a name, and adds the targets. Users
// keep their mail whatever mistakes the file has: an alias with a user's name is only used if
// it is entirely valid and leads to that user too.
func (w *walk) name(a address, detail string, by *entry, r *result) bool {
	if a.local == "" || strings.IndexByte(a.local, '@') >= 0 || !utf8.ValidString(a.local) {
		return false // from a quoted local part
	}
	key := a.String()
	user, isUser := w.of.user(a, detail)
	e, unusable := w.table.find(a, w.of.first)
	switch {
	case !isUser && (e != nil || unusable) && w.leftOut(a) && !a.isPostmasters():
		// His line cannot be used, but he exists. Those who get copies of his mail must
		// not get it alone.
		w.fault(by, r, ErrUser, "the users file has a line for %s that cannot be used", a)
		return true
	case e != nil && w.way[key]:
		if !isUser && !a.isPostmasters() {
			w.fault(by, r, ErrAlias, "leads in a circle, through %s", key)
			return true
		}
	case e != nil:
		to := w.through(e, key, detail)
		if !isUser || to.err == nil && to.users[user.Name] {
			w.join(to, by, r)
			if by == nil {
				r.owner = user.Name
			}
			return true
		}
	case unusable && !isUser:
		w.fault(by, r, ErrAlias, "%s is on a line that cannot be used", key)
		return true
	}
	switch {
	case a.local == "postmaster" && detail == "":
		w.postmaster(a, by, r)
	case isUser:
		w.add(Target{user, detail}, by, r)
	default:
		return false
	}
	return true
}

// user returns the user who has an address. A user who is named postmaster only has that
// address if he is the configured postmaster.
func (a *Aliases) user(of address, detail string) (auth.User, bool) {
	u, ok := a.users.Lookup(of.String())
	if ok && of.local == "postmaster" && detail == "" {
		p, _ := a.users.Lookup(a.postmaster)
		ok = p.Name == u.Name
	}
	return u, ok
}

// through follows the targets of an entry for the address key.
func (w *walk) through(e *entry, key, detail string) *result {
	if known := w.known[key+detail]; known != nil {
		return known
	}
	if w.known == nil {
		w.known, w.way = map[string]*result{}, map[string]bool{}
	}
	to := &result{users: make(map[string]bool, len(e.targets)), alias: true}
	w.way[key] = true
	for _, t := range e.targets {
		if to.size > maxSize {
			break
		}
		w.address(address{t.local + detail, t.domain}, e, to)
	}
	delete(w.way, key)
	w.known[key+detail] = to
	if !to.shared {
		w.held += len(to.targets)
	}
	return to
}

// join adds the targets of an alias.
func (w *walk) join(to *result, by *entry, r *result) {
	r.alias = true
	r.size += to.size
	if len(r.targets) == 0 {
		r.targets, r.users, r.shared = slices.Clip(to.targets), to.users, true
	} else {
		for _, t := range to.targets {
			w.add(t, by, r)
		}
	}
	if r.err == nil {
		r.err = to.err
	}
	if r.size > maxSize && to.err == nil {
		w.tooFar(by, r)
	}
}

func (w *walk) tooFar(by *entry, r *result) {
	w.fault(by, r, ErrAlias, "leads through more than %d addresses", maxSize)
}

// rest follows the line "@domain", which is for all addresses of the domain that nobody has. If
// an alias names the address (by is not nil), the line is only used if it leads to the same
// local part in another domain. If it led to users, they would silently get the mail for a
// misspelled address in the file.
func (w *walk) rest(a address, by *entry, r *result) bool {
	if a.domain == "" {
		return false
	}
	all := address{domain: a.domain}
	e := w.table.byKey[all.String()]
	on := a.String() + " " // a distinct key: the address without the space may be on the way
	switch {
	case e == nil && w.table.unusable[all.String()]:
		w.fault(by, r, ErrAlias, "%s is on a line that cannot be used", all)
	case e == nil, by != nil && !e.targets[0].isDomain():
		return false
	case !e.targets[0].isDomain():
		w.join(w.through(e, all.String(), ""), by, r)
	case w.way[on]:
		w.fault(e, r, ErrAlias, "leads in a circle, through %s", a)
	default:
		if w.way == nil {
			w.known, w.way = map[string]*result{}, map[string]bool{}
		}
		w.way[on] = true
		r.alias = true
		w.address(address{a.local, e.targets[0].domain}, by, r)
		delete(w.way, on)
	}
	return true
}

func (w *walk) leftOut(a address) bool { return w.of.users.LeftOut(a.String()) }

// postmaster adds the configured postmaster, whose mail is never refused permanently. Unless the
// address is his own, it is an alias that the operator did not have to write.
func (w *walk) postmaster(a address, by *entry, r *result) {
	user, ok := w.of.users.Lookup(w.of.postmaster)
	if !ok {
		w.fault(by, r, ErrPostmaster, "the postmaster, %s, is not a user", w.of.postmaster)
		return
	}
	r.alias = r.alias || user.Name != a.String()
	w.add(Target{User: user}, by, r)
}

func (w *walk) add(t Target, by *entry, r *result) {
	switch {
	case r.users[t.User.Name]:
		return
	case len(r.targets) == MaxUsers:
		w.fault(by, r, ErrAlias, "leads to more than %d users", MaxUsers)
		return
	}
	if r.shared {
		r.users, r.shared = maps.Clone(r.users), false
	}
	if r.users != nil {
		r.users[t.User.Name] = true
	}
	r.targets = append(r.targets, t)
}

func (w *walk) fault(by *entry, r *result, err error, format string, args ...any) {
	if by != nil {
		err = ErrAlias
	}
	if r.err == nil {
		r.err = err
	}
	if by != nil && w.note {
		w.faults = append(w.faults, problem{by.line, fmt.Sprintf(format, args...)})
	}
}

// find returns the entry for an address, or that for its local part in all domains. unusable
// reports whether that is on an unusable line.
func (t *table) find(a address, first string) (e *entry, unusable bool) {
	if t.byKey == nil {
		return nil, false
	}
	if a.domain == "" {
		a.domain = first
	}
	for _, key := range [...]string{a.String(), a.local} {
		if e := t.byKey[key]; e != nil {
			return e, false
		}
		if t.unusable[key] {
			return nil, true
		}
	}
	return nil, false
}
