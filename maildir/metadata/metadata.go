// Package metadata stores annotations (RFC 5464): short texts with a name that clients
// attach to a mailbox or to the account as a whole.
//
// They are stored in text files, so that they are included in backups: "maildird-metadata"
// in the folder of each mailbox that has any, which is therefore renamed and deleted
// together with the mailbox, and "maildird-metadata-account" in the Maildir's root. No
// other program uses these files, as they are outside new/ and cur/. Each line is an entry:
//
//	/private/comment Letters of my aunt
//	/shared/vendor/example/colour 50%25 grey%0D%0Aand blue
//
// that is, the name in lower case, a blank, and the value, in which "%" and all octets
// except printable US-ASCII are written as "%" and two hexadecimal digits. Lines that do
// not start with a slash are kept and ignored.
//
// A change replaces the file while holding dovecot-uidlist.lock of its folder. Readers need
// no lock.
package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
)

const (
	// Name is the file with the entries of a mailbox, and AccountName the one in the root
	// with those of the account.
	Name        = "maildird-metadata"
	AccountName = "maildird-metadata-account"

	// MaxValue is the maximum number of octets in a value, MaxEntries the maximum number of
	// entries of a mailbox or an account, and MaxName the maximum number of octets in an
	// entry's name.
	MaxValue   = 16 << 10
	MaxEntries = 64
	MaxName    = 255

	// maxFile limits what is read: all entries, with each octet written as three.
	maxFile = 4 << 20
)

// Errors that callers distinguish.
var (
	ErrTooMany = errors.New("too many annotations")
	ErrTooBig  = errors.New("the value of an annotation is too big")
)

// Set is the entries of one mailbox or account.
type Set struct {
	values map[string]string // by name in lower case
	others []string          // other lines in the file
}

// Get returns the value of an entry, ignoring the case of its name.
func (s *Set) Get(name string) (value string, ok bool) {
	value, ok = s.values[strings.ToLower(name)]
	return value, ok
}

// Names returns the names of all entries, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.values)) }

// Change sets the value of an entry, or removes it.
type Change struct {
	Name   string
	Value  string
	Remove bool
}

// Apply makes changes, in this order, all or none. It returns ErrTooMany or ErrTooBig.
func (s *Set) Apply(changes []Change) error {
	values := maps.Clone(s.values)
	if values == nil {
		values = map[string]string{}
	}
	for _, c := range changes {
		name := strings.ToLower(c.Name)
		if c.Remove {
			delete(values, name)
			continue
		}
		if len(c.Value) > MaxValue {
			return fmt.Errorf("%w: %s", ErrTooBig, name)
		}
		values[name] = c.Value
	}
	if len(values) > MaxEntries && len(values) > len(s.values) {
		return ErrTooMany
	}
	s.values = values
	return nil
}

// Show adds an entry that is not stored in the file and not subject to limits, or hides
// one; a value for it in the file is ignored.
func (s *Set) Show(name, value string, ok bool) {
	values := maps.Clone(s.values)
	if values == nil {
		values = map[string]string{}
	}
	if values[strings.ToLower(name)] = value; !ok {
		delete(values, strings.ToLower(name))
	}
	s.values = values
}

// Read returns the entries in a file of the folder. A missing file has none, and neither
// has something that is not a regular file, such as a symbolic link.
func Read(folder *dirfd.Dir, name string) (*Set, error) {
	text, err := folder.ReadFile(name, maxFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, dirfd.ErrNotRegular) {
		return &Set{}, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(string(text)), nil
}

func parse(text string) *Set {
	s := &Set{values: map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n") // no entry ends with a CR: an editor added it
		name, value, ok := strings.Cut(line, " ")
		value, sound := unescape(value)
		if !ok || !sound || !ValidName(name) || len(value) > MaxValue || len(s.values) >= 2*MaxEntries {
			if line != "" && line[0] != '/' {
				s.others = append(s.others, line)
			}
			continue
		}
		s.values[strings.ToLower(name)] = value
	}
	return s
}

// Write replaces the file, durable on return with fsync. If there are no entries, it
// removes the file. The folder's lock must be held.
func Write(folder *dirfd.Dir, name string, s *Set, fsync bool) error {
	text := s.format()
	if text == "" {
		err := folder.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && fsync {
			err = folder.Sync()
		}
		return err
	}
	_, err := folder.Replace(name, name+".tmp", func(f *dirfd.File) error {
		_, err := f.WriteString(text)
		if err == nil && fsync {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	})
	if err == nil && fsync {
		err = folder.Sync()
	}
	return err
}

func (s *Set) format() string {
	var b strings.Builder
	for _, line := range s.others {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	for _, name := range s.Names() {
		b.WriteString(name)
		b.WriteByte(' ')
		escape(&b, s.values[name])
		b.WriteByte('\n')
	}
	return b.String()
}

// ValidName reports whether an entry can have a name (RFC 5464 section 3.2): components
// after slashes, of printable US-ASCII without blanks, "*" and "%".
func ValidName(name string) bool {
	if len(name) < 2 || len(name) > MaxName || name[0] != '/' || name[len(name)-1] == '/' || strings.Contains(name, "//") {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '*' || c == '%' {
			return false
		}
	}
	return true
}

func escape(b *strings.Builder, value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= 0x7f || c == '%' {
			fmt.Fprintf(b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
}

// unescape reverses escape. sound is false if the text is truncated or malformed.
func unescape(text string) (value string, sound bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return "", false
			}
			high, low := digit(text[i+1]), digit(text[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func digit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
