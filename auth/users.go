// Package auth knows the users of a server and their passwords, from a file in
// Dovecot's passwd-file format. It knows nothing of connections.
//
// users.go has the users, read again when the file changes; passwdfile.go reads its
// lines, of which access.go and quota.go take the extra fields, and edit.go changes
// them. password.go has the schemes of passwords, scram.go the keys of SCRAM-SHA-256.
// check.go checks a password, throttle.go slows guessing down, and unknown.go makes
// the names of nobody look like users.
package auth

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
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

// Users is the users file. It is read again when it changes. Safe for
// concurrent use.
type Users struct {
	path    string
	domains []string
	log     *slog.Logger
	check   *checker

	mu       sync.Mutex
	table    *table
	revision uint64 // of table
	version  fileVersion
	looked   time.Time
	told     time.Time // when the log was told that the file cannot be read
}

// rereadInterval bounds how often the file is looked at.
const rereadInterval = time.Second

// tellInterval is how often the log is told that the file cannot be read.
const tellInterval = time.Minute

// fileVersion tells one state of a file from another.
type fileVersion struct {
	ino          uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// OpenUsers reads the users file at path. Names without a domain belong to the
// first of the domains. Lines that cannot be understood are logged with their
// number and left out.
func OpenUsers(path string, domains []string, log *slog.Logger) (*Users, error) {
	u := &Users{path: path, domains: domains, log: log, check: newChecker()}
	if err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Reload reads the file now. After an error the old users stay.
func (u *Users) Reload() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.read()
}

// read reads the file. u.mu is held.
func (u *Users) read() error {
	text, v, err := readFile(u.path)
	if err != nil {
		return err
	}
	t, problems := parse(text, u.domains)
	for _, p := range problems {
		u.log.Warn("users file has a line that is left out", "file", u.path, "line", p.line, "problem", p.text)
	}
	u.table, u.version, u.looked = t, v, time.Now()
	u.revision++
	return nil
}

// Problems reads the file and returns what is wrong with its lines, for an
// operator who asks.
func (u *Users) Problems() ([]string, error) {
	text, _, err := readFile(u.path)
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

// readFile reads a users file, without the mark that editors of other systems put
// before UTF-8, and tells the state that it had before. A FIFO or device would not
// come to an end.
func readFile(path string) (text []byte, v fileVersion, err error) {
	v, err = versionOf(path)
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, v, fmt.Errorf("cannot read the users file: %w", err)
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), v, nil
}

func versionOf(path string) (fileVersion, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileVersion{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if kind := st.Mode & syscall.S_IFMT; kind != syscall.S_IFREG {
		return fileVersion{}, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	return fileVersion{st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// current returns the users, from the file as it is now or was a second ago.
func (u *Users) current() *table {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if d := now.Sub(u.looked); d >= 0 && d < rereadInterval {
		return u.table
	}
	u.looked = now
	v, err := versionOf(u.path)
	if err == nil && v != u.version && !u.beingWritten(v, now) {
		err = u.read()
	}
	switch {
	case err == nil:
		u.told = time.Time{}
	case now.Sub(u.told).Abs() >= tellInterval:
		u.told = now
		u.log.Error("users file cannot be read, keeping the users known so far", "error", err, "more", "not logged for a minute")
	}
	return u.table
}

// Revision counts how often the file was read, after a look whether it changed.
// What was asked before it grew may have another answer.
func (u *Users) Revision() uint64 {
	u.current()
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.revision
}

// beingWritten tells whether the file was changed in place a moment ago: half
// of it may be all that is there, and the mail of users who are missing would
// be refused for good. A file that was renamed into place is complete.
func (u *Users) beingWritten(v fileVersion, now time.Time) bool {
	age := now.Sub(time.Unix(v.mtime.Unix()))
	return v.ino == u.version.ino && age >= 0 && age < rereadInterval
}

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
	return t.leftOut[fold(address)] && t.find(address) == nil
}

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
	byHash  []*entry
	domains []string // in lower case
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
	address = fold(address)
	if strings.Contains(address, "@") {
		return t.byName[address]
	}
	return t.byLocal[address]
}

func (t *table) add(e *entry) error {
	if t.byName[e.user.Name] != nil {
		return errors.New("this user is there already")
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

// fold is lower case for comparing names. A letter outside ASCII never becomes
// one in it, as the Kelvin sign would, which looks like a K.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, name)
}
