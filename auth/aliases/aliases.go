// Package aliases determines who gets the mail for an address in our domains: a user, or the
// users that an alias leads to. It knows nothing about protocols.
//
// aliases.go holds the aliases and rereads their file when it changes; parse.go parses its
// lines, in the format of Postfix's virtual(5), resolve.go follows an address to users, and
// check.go finds what is wrong with the file.
//
// Unlike in Postfix, an alias does not take over a user's address unless it leads to that
// user too, and a catch-all ("@example.org") does not take precedence over users. All
// addresses are in our own domains.
package aliases

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"maildird/auth"
)

// Users finds users, like auth.Users. It must be safe for concurrent use.
type Users interface {
	Lookup(address string) (auth.User, bool)
	LeftOut(address string) bool
}

// Aliases are the aliases in an aliases file. Refresh rereads the file when it has
// changed; until it has finished, all other methods use the aliases known so far. Aliases
// is safe for concurrent use.
type Aliases struct {
	users      Users
	revision   func() uint64 // of users; nil without a file
	postmaster string
	first      string // the first domain
	ours       domains
	path       string
	log        *slog.Logger

	table atomic.Pointer[table]

	reading sync.Mutex // held while the file is read and checked
	file    *auth.File // nil if there is no file
	parsed  []problem
	told    map[problem]bool
	asked   uint64 // revision of users that the table was last checked with
}

// None returns the aliases of a server without an aliases file.
func None(domains []string, users Users, postmaster string) *Aliases {
	a := &Aliases{users: users, postmaster: postmaster, ours: newDomains(domains)}
	a.table.Store(&table{})
	if len(domains) > 0 {
		a.first = strings.ToLower(domains[0])
	}
	return a
}

// Open reads the aliases file at path; "" means that there is none. postmaster is the address
// of the user who gets the mail for postmaster and abuse, unless an alias does. Lines that
// cannot be used are logged with their numbers, once each time that they become unusable.
func Open(path string, domains []string, users *auth.Users, postmaster string, log *slog.Logger) (*Aliases, error) {
	a := None(domains, users, postmaster)
	if path == "" {
		return a, nil
	}
	a.path, a.log, a.revision, a.file = path, log, users.Revision, auth.NewFile(path, "aliases", log)
	return a, a.Reload()
}

// Reload rereads the file. After an error the aliases remain unchanged.
func (a *Aliases) Reload() error {
	if a.file == nil {
		return nil
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	text, err := a.file.Read()
	if err == nil {
		a.take(context.Background(), text)
	}
	return err
}

// Refresh rereads the file if it has changed, and checks where its aliases lead, which may take
// long; the end of ctx aborts the check. Refresh must be called regularly.
func (a *Aliases) Refresh(ctx context.Context) {
	if a.file == nil {
		return
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	if text, changed := a.file.Changed(); changed {
		a.take(ctx, text)
	} else if a.revision() != a.asked {
		a.tell(ctx) // users that an alias leads to may have been added or removed
	}
}

// take replaces the aliases by those of a text. a.reading must be held.
func (a *Aliases) take(ctx context.Context, text []byte) {
	t, parsed := parse(text, a.ours)
	a.parsed = parsed
	a.table.Store(t)
	a.tell(ctx)
}

// current returns the aliases as last read.
func (a *Aliases) current() *table { return a.table.Load() }

// maxLoggedLines is the maximum number of lines that a reading of the file logs.
const maxLoggedLines = 100

// tell logs new problems of the file. a.reading must be held.
func (a *Aliases) tell(ctx context.Context) {
	a.asked = a.revision()
	now, told := map[problem]bool{}, 0
	problems := a.problems(ctx, a.current(), a.parsed)
	if ctx.Err() != nil {
		return
	}
	for _, p := range problems {
		if now[p] = true; a.told[p] {
			continue
		}
		if told++; told <= maxLoggedLines {
			a.log.Warn("aliases file has a line that cannot be used", "file", a.path, "line", p.line, "problem", p.text)
		}
	}
	if told > maxLoggedLines {
		a.log.Warn("aliases file has more lines that cannot be used", "file", a.path, "more", told-maxLoggedLines)
	}
	a.told = now
}

// Problems returns what is wrong with the lines of the file, for the operator.
func (a *Aliases) Problems() []string {
	if a.file == nil {
		return nil
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	var out []string
	for _, p := range a.problems(context.Background(), a.current(), a.parsed) {
		out = append(out, fmt.Sprintf("%s:%d: %s", a.path, p.line, p.text))
	}
	return out
}
