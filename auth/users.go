// Package auth manages the users of a server and their passwords, from a file in Dovecot's
// passwd-file format. It knows nothing about connections.
//
// users.go holds the users. file.go rereads their file when it changes, passwdfile.go parses
// its lines, access.go and quota.go parse their extra fields, and edit.go changes them.
// password.go, yescrypt.go and oldschemes.go implement the password schemes, and scram.go the
// keys of SCRAM-SHA-256. check.go checks passwords, throttle.go slows down guessing, and
// unknown.go makes unknown names indistinguishable from users.
package auth

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

// User is a user without his password.
type User struct {
	Name     string // full address, in lower case
	Home     string // "" if the file has none
	UID, GID int    // system user and group that own the mail, -1 if the file has none
	Quota    *Quota // nil if the file has none

	// proof is a hash of the credentials.
	proof [sha256.Size]byte
}

// Users are the users in a users file. Refresh rereads the file when it has changed; until it
// has finished, all other methods use the users known so far. Users is safe for concurrent use.
type Users struct {
	path    string
	domains []string
	log     *slog.Logger
	check   *checker

	table atomic.Pointer[table]

	reading sync.Mutex // held while the file is read
	file    *File
}

// OpenUsers reads the users file at path. Names without a domain belong to the first of the
// domains. Lines that cannot be used are logged with their numbers and ignored; users who receive
// mail but cannot log in are logged too.
func OpenUsers(path string, domains []string, log *slog.Logger) (*Users, error) {
	u := &Users{path: path, domains: domains, log: log, check: newChecker(), file: NewFile(path, "users", log)}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload rereads the file. After an error the users remain unchanged.
func (u *Users) Reload() error {
	u.reading.Lock()
	defer u.reading.Unlock()
	text, err := u.file.Read()
	if err == nil {
		u.take(text)
	}
	return err
}

// maxLoggedLines is the maximum number of lines that a reading of the file logs.
const maxLoggedLines = 100

// Refresh rereads the file if it has changed. It must be called regularly.
func (u *Users) Refresh() {
	u.reading.Lock()
	defer u.reading.Unlock()
	if text, changed := u.file.Changed(); changed {
		u.take(text)
	}
}

// take replaces the users by those of a text. u.reading must be held.
func (u *Users) take(text []byte) {
	t, problems := parse(text, u.domains)
	for _, p := range problems[:min(len(problems), maxLoggedLines)] {
		what := "users file has a line that cannot be used"
		if p.user {
			what = "users file has a user who cannot log in"
		}
		u.log.Warn(what, "file", u.path, "line", p.line, "problem", p.text)
	}
	if more := len(problems) - maxLoggedLines; more > 0 {
		u.log.Warn("users file has more such lines", "file", u.path, "more", more)
	}
	if len(t.entries)+len(problems) == 0 {
		u.log.Warn("users file contains no users: all mail is refused for now", "file", u.path)
	}
	if last := u.current(); last != nil {
		t.revision = last.revision + 1
	}
	u.table.Store(t)
}

// Problems reads the file and returns what is wrong with its lines, for the operator: those
// that cannot be used, and those of users who cannot log in.
func (u *Users) Problems() (unusable, noLogin []string, err error) {
	text, _, err := readFile(u.path, "users")
	if err != nil {
		return nil, nil, err
	}
	_, problems := parse(text, u.domains)
	for _, p := range problems {
		list := &unusable
		if p.user {
			list = &noLogin
		}
		*list = append(*list, fmt.Sprintf("%s:%d: %s", u.path, p.line, p.text))
	}
	return unusable, noLogin, nil
}

// current returns the users as last read.
func (u *Users) current() *table { return u.table.Load() }

// Revision returns how often the file was read. When it has grown, the answers of other
// methods may have changed.
func (u *Users) Revision() uint64 { return u.current().revision }

// Lookup finds a user by his full address, or by a local part that only one user has. It
// ignores case. The address is only compared with the table.
func (u *Users) Lookup(address string) (User, bool) {
	e := u.current().find(address)
	if e == nil {
		return User{}, false
	}
	return e.user, true
}

// LeftOut reports whether an address, in the forms that Lookup accepts, only occurs in unusable
// lines of the users file: the user exists, but cannot be served at the moment.
func (u *Users) LeftOut(address string) bool {
	t := u.current()
	return t.leftOut[Fold(address)] && t.find(address) == nil
}

// Empty reports whether there are no users at all.
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
	byLocal map[string]*entry // nil for a local part that several users have
	leftOut map[string]bool   // names and local parts on unusable lines
	// byHash are the entries of users who can log in, sorted by hash, so that equal schemes (and,
	// except for PBKDF2, costs) are adjacent, and a change of one user moves only few of the
	// stand-ins for unknown ones.
	byHash   []*entry
	domains  []string // in lower case
	revision uint64   // see Users.Revision
}

// entry is a line of the users file.
type entry struct {
	user User
	hash string // "{SCHEME}..."
	// noLogin says why nobody can log in as this user, who receives mail all the same: no
	// password can match, or it is not known from where he may log in. Otherwise it is nil.
	noLogin error
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

func (t *table) add(e *entry) {
	t.entries = append(t.entries, e)
	t.byName[e.user.Name] = e
	local, _, _ := strings.Cut(e.user.Name, "@")
	if _, shared := t.byLocal[local]; shared {
		t.byLocal[local] = nil
	} else {
		t.byLocal[local] = e
	}
}

// Fold returns a name in lower case for comparisons. A letter outside ASCII never becomes an
// ASCII letter, as the Kelvin sign would, which looks like a K.
func Fold(name string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, name)
}
