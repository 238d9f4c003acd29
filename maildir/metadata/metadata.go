// Package metadata keeps annotations (RFC 5464): short texts with a name that
// clients attach to a mailbox, or to the account as a whole.
//
// They are plain files, so that a backup takes them along: "maildird-metadata"
// in the folder of each mailbox that has any, which thus follows the mailbox
// when it is renamed and goes with it when it is deleted, and
// "maildird-metadata-account" in the Maildir's root. No other program looks at
// them, as they lie beside new/ and cur/. Each line is an entry:
//
//	/private/comment Letters of my aunt
//	/shared/vendor/example/colour 50%25 grey%0D%0Aand blue
//
// the name in lower case, a blank, and the value, in which "%" and all octets
// but printable US-ASCII are written as "%" and two hexadecimal digits. Lines
// that do not begin with a slash are kept and mean nothing.
//
// A change replaces the file, under dovecot-uidlist.lock of the folder that it
// is in. Readers need no lock.
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
	// Name is the file with the entries of a mailbox, AccountName in the root
	// that with those of the account.
	Name        = "maildird-metadata"
	AccountName = "maildird-metadata-account"

	// MaxValue is the octets that a value may have, MaxEntries how many entries
	// a mailbox or an account may have, MaxName the octets of an entry's name.
	MaxValue   = 16 << 10
	MaxEntries = 64
	MaxName    = 255

	// maxFile bounds what is read: all entries, each octet written as three.
	maxFile = 4 << 20
)

// Errors that callers tell apart.
var (
	ErrTooMany = errors.New("too many annotations")
	ErrTooBig  = errors.New("the value of an annotation is too big")
)

// Set is the entries of one mailbox or account.
type Set struct {
	values map[string]string // by name in lower case
	others []string          // lines of somebody else's
}

// Get returns the value of an entry, whatever the case of its name.
func (s *Set) Get(name string) (value string, ok bool) {
	value, ok = s.values[strings.ToLower(name)]
	return value, ok
}

// Names returns the names of all entries, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.values)) }

// Change gives an entry a value, or removes it.
type Change struct {
	Name   string
	Value  string
	Remove bool
}

// Apply makes changes, in this order, all or none: ErrTooMany, ErrTooBig.
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

// Show adds an entry that is not kept in the file and counts for no limit, or
// hides one; a value that the file has for it does not count.
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

// Read returns the entries in a file of the folder. One that is missing has
// none, and so has one that cannot be one of ours, such as a symbolic link.
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
		line = strings.TrimSuffix(line, "\n")
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

// Write replaces the file, durable on return with fsync. Without entries there
// is none. The folder's lock must be held.
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
	rights, err := folder.Rights()
	if err != nil {
		return err
	}
	temp := name + ".tmp"
	if err := folder.RemoveAll(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := folder.CreateAs(temp, rights)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil && fsync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = folder.Rename(temp, folder, name)
	}
	if err != nil {
		return errors.Join(err, folder.RemoveAll(temp))
	}
	if fsync {
		return folder.Sync()
	}
	return nil
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

// ValidName tells whether an entry can have a name (RFC 5464 section 3.2):
// components after slashes, printable US-ASCII without blanks, "*" and "%".
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

// unescape undoes escape. sound is false if the text is cut off or odd.
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
