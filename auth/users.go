// Package auth knows the users of a server and their passwords, from a file in
// Dovecot's passwd-file format. It knows nothing about connections.
//
// users.go holds the users. file.go rereads their file when it changes, passwdfile.go
// parses its lines, access.go and quota.go their extra fields, and edit.go changes them.
// password.go has the password schemes, scram.go the keys of SCRAM-SHA-256. check.go
// checks a password, throttle.go slows down guessing, and unknown.go makes unknown names
// look like users.
package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

// User is one user, without the password.
type User struct {
	Name     string // full address, in lower case
	Home     string // "" if the file gives none
	UID, GID int    // system user and group that own the mail, -1 if the file gives none
	Quota    *Quota // nil if the file gives none

	// proof is a hash of what the user proves himself by.
	proof [sha256.Size]byte
}

// Users is the users file. Refresh reads it again when it has changed; until it is done,
// however long that takes, all who ask get the users known so far. Safe for concurrent use.
type Users struct {
	path    string
	domains []string
	log     *slog.Logger
	check   *checker

	table atomic.Pointer[table]

	reading sync.Mutex // held while the file is read
	file    *File
}

// OpenUsers reads the users file at path. Names without a domain belong to the
// first of the domains. Lines that cannot be understood are logged with their
// number and left out.
func OpenUsers(path string, domains []string, log *slog.Logger) (*Users, error) {
	u := &Users{path: path, domains: domains, log: log, check: newChecker(), file: NewFile(path, "users", log)}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload reads the file now. After an error the old users stay.
func (u *Users) Reload() error {
	u.reading.Lock()
	defer u.reading.Unlock()
	text, err := u.file.Read()
	if err == nil {
		u.take(text)
	}
	return err
}

// mostTold bounds what one reading of the file puts into the log.
const mostTold = 100

// Refresh reads the file if it is another one than before. To be called again and again.
func (u *Users) Refresh() {
	u.reading.Lock()
	defer u.reading.Unlock()
	if text, changed := u.file.Changed(); changed {
		u.take(text)
	}
}

// take makes the users those of a text. u.reading is held.
func (u *Users) take(text []byte) {
	t, problems := parse(text, u.domains)
	for _, p := range problems[:min(len(problems), mostTold)] {
		u.log.Warn("users file has a line that cannot be used", "file", u.path, "line", p.line, "problem", p.text)
	}
	if more := len(problems) - mostTold; more > 0 {
		u.log.Warn("users file has more lines that cannot be used", "file", u.path, "more", more)
	}
	if len(t.entries)+len(problems) == 0 {
		u.log.Warn("users file contains no users: all mail is refused for now", "file", u.path)
	}
	if last := u.current(); last != nil {
		t.revision = last.revision + 1
	}
	u.table.Store(t)
}

// Problems reads the file and returns what is wrong with its lines, for an
// operator who asks.
func (u *Users) Problems() ([]string, error) {
	text, _, err := readFile(u.path, "users")
	if err != nil {
		return nil, err
	}
	_, problems := parse(text, u.domains)
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = fmt.Sprintf("%s:%d: %s", u.path, p.line, p.text)
	}
	return out, nil
}

// current returns the users as they were when the file was read last.
func (u *Users) current() *table { return u.table.Load() }

// Revision counts how often the file was read. What was asked before it grew may have
// another answer.
func (u *Users) Revision() uint64 { return u.current().revision }

// Lookup finds a user by the full address, or by a local part that only one
// user has. Upper and lower case are the same. The address is compared with
// the table and used for nothing else.
func (u *Users) Lookup(address string) (User, bool) {
	e := u.current().find(address)
	if e == nil {
		return User{}, false
	}
	return e.user, true
}

// LeftOut tells whether an address, in the forms that Lookup takes, stands in
// the users file on a line that cannot be used only: there is such a user, but
// nothing can be done for him now.
func (u *Users) LeftOut(address string) bool {
	t := u.current()
	return t.leftOut[Fold(address)] && t.find(address) == nil
}

// Empty tells whether there is no user at all.
func (u *Users) Empty() bool { return len(u.current().entries) == 0 }

// All returns the users in the order of the file.
func (u *Users) All() []User {
	var out []User
	for _, e := range u.current().entries {
		out = append(out, e.user)
	}
	return out
}

// table is the users by name.
type table struct {
	entries []*entry
	byName  map[string]*entry
	byLocal map[string]*entry // nil where several users share a local part
	leftOut map[string]bool   // names and local parts on lines that cannot be used
	// byHash are all, sorted by their hashes: the same scheme and cost side by side,
	// so that a change of one user moves few of those who stand in for unknown ones.
	byHash   []*entry
	domains  []string // in lower case
	revision uint64   // see Users.Revision
}

// entry is a line of the users file.
type entry struct {
	user User
	hash string // "{SCHEME}..."
	access
	// scram is nil if the user has no keys for SCRAM-SHA-256.
	scram *scram.StoredCredentials
}

func (t *table) find(address string) *entry {
	address = Fold(address)
	if strings.Contains(address, "@") {
		return t.byName[address]
	}
	return t.byLocal[address]
}

func (t *table) add(e *entry) error {
	if t.byName[e.user.Name] != nil {
		return errors.New("this user is listed already")
	}
	t.entries = append(t.entries, e)
	t.byName[e.user.Name] = e
	local, _, _ := strings.Cut(e.user.Name, "@")
	if _, shared := t.byLocal[local]; shared {
		t.byLocal[local] = nil
	} else {
		t.byLocal[local] = e
	}
	return nil
}

// Fold is lower case for comparing names. A letter outside ASCII never becomes
// one in it, as the Kelvin sign would, which looks like a K.
func Fold(name string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, name)
}
