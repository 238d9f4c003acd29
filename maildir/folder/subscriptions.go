package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// subscriptionsFile is Dovecot's list of subscribed mailboxes in the root, in one of two
// formats. Names are as on disk, without the namespace prefix.
//
//	version 1: one name per line, levels joined by the layout's separator
//	version 2: "V\t2\n\n", then one name per line, levels joined by a tab, and
//	           NUL, 01, tab, CR, LF inside a level written as 01 and one
//	           of "0", "1", "t", "r", "n"
//
// A file keeps its format; a new one gets version 2. Mailboxes that are named need not
// exist. Lines that are not names are kept.
const subscriptionsFile = "subscriptions"

const subscriptionsV2 = "V\t2\n\n"

var errSubscriptions = errors.New("unknown format of the subscriptions file")

// subscriptions is a parsed file.
type subscriptions struct {
	v2    bool
	head  []byte   // before the first line
	lines []string // raw, without line end
}

func parseSubscriptions(data []byte) (subscriptions, error) {
	var s subscriptions
	if data == nil {
		s.v2, s.head = true, []byte(subscriptionsV2)
	}
	// No name ends with a CR: an editor may have added it to the line ends, also of the
	// last line, to which an LF may be added later.
	lines := bytes.Split(data, []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimRight(line, "\r")
	}
	data = bytes.Join(lines, []byte("\n"))
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if version, ok := versionLine(string(first)); ok {
		if version != "2" {
			return s, fmt.Errorf("%w: version %.20q", errSubscriptions, version)
		}
		// An editor may have removed the empty line.
		s.v2, s.head, data = true, []byte(subscriptionsV2), bytes.TrimPrefix(rest, []byte("\n"))
	}
	if text := strings.TrimSuffix(string(data), "\n"); text != "" {
		s.lines = strings.Split(text, "\n")
	}
	return s, nil
}

// versionLine returns the version that a first line declares. As in Dovecot, any other line
// that starts the same way is a name in a file of version 1.
func versionLine(line string) (version string, ok bool) {
	version, ok = strings.CutPrefix(line, "V\t")
	return version, ok && version != "" && strings.Trim(version, "0123456789") == ""
}

// bytes returns the contents of the file. It does not put a name first that looks like a
// version line.
func (s subscriptions) bytes() []byte {
	out := bytes.NewBuffer(slices.Clip(s.head))
	lines := s.lines
	if !s.v2 {
		n := 0
		for n < len(lines) {
			if _, ok := versionLine(lines[n]); !ok {
				break
			}
			n++
		}
		if n == len(lines) {
			lines = nil // if there are no other names, they are dropped
		} else {
			lines = slices.Concat(lines[n:], lines[:n])
		}
	}
	for _, line := range lines {
		out.WriteString(line)
		out.WriteByte('\n')
	}
	if out.Len() == 0 {
		return []byte{}
	}
	return out.Bytes()
}

// place returns the mailbox that a line names. An empty line names none.
func (s subscriptions) place(line string, separator byte) (levels, bool) {
	if line == "" {
		return nil, false
	}
	if !s.v2 {
		return strings.Split(line, string(separator)), true
	}
	at := levels(strings.Split(line, "\t"))
	for i, level := range at {
		var ok bool
		if at[i], ok = unescapeTab(level); !ok {
			return nil, false
		}
	}
	return at, true
}

// line returns the line for a mailbox.
func (s subscriptions) line(at levels, separator byte) string {
	if len(at) == 0 {
		return "INBOX"
	}
	if !s.v2 {
		return strings.Join(at, string(separator))
	}
	escaped := make([]string, len(at))
	for i, level := range at {
		escaped[i] = tabEscaper.Replace(level)
	}
	return strings.Join(escaped, "\t")
}

var tabEscaper = strings.NewReplacer("\x00", "\x010", "\x01", "\x011", "\t", "\x01t", "\r", "\x01r", "\n", "\x01n")

func unescapeTab(s string) (string, bool) {
	if strings.IndexByte(s, 1) < 0 {
		return s, true
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 1 {
			out.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", false
		}
		at := strings.IndexByte("01trn", s[i])
		if at < 0 {
			return "", false
		}
		out.WriteByte("\x00\x01\t\r\n"[at])
	}
	return out.String(), true
}

func (t *Tree) parseSubscriptions(data []byte) (subscriptions, error) {
	s, err := parseSubscriptions(data)
	if err != nil {
		err = fmt.Errorf("%s/%s: %w", t.root.Path(), subscriptionsFile, err)
	}
	return s, err
}

// Subscriptions returns the subscribed names, sorted, including those without a mailbox.
func (t *Tree) Subscriptions() ([]string, error) {
	data, err := t.root.ReadFile(subscriptionsFile, maxTreeFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	s, err := t.parseSubscriptions(data)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(s.lines))
	for _, line := range s.lines {
		if name, ok := t.subscribedName(s, line); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// subscribedName returns the visible name on a line. ok is false if clients could not use
// it.
func (t *Tree) subscribedName(s subscriptions, line string) (string, bool) {
	at, ok := s.place(line, t.layout.separator())
	if !ok || len(line) > maxName || len(at) > maxLevels || slices.Contains(at, "") {
		return "", false
	}
	name := t.join(t.show(at))
	return name, len(name) <= maxName // it may be longer than the line
}

// SetSubscribed adds a name to the subscriptions or removes it. The mailbox need not exist. It
// returns ErrName or ErrLocked, and fails if the format of the file is unknown.
func (t *Tree) SetSubscribed(ctx context.Context, name string, on bool) error {
	return t.setSubscribed(ctx, []string{name}, on)
}

func (t *Tree) setSubscribed(ctx context.Context, names []string, on bool) error {
	places := make([]levels, len(names))
	for i, name := range names {
		text, err := t.parse(name)
		if err != nil {
			return err
		}
		places[i] = encode(text)
	}
	return t.rewrite(ctx, subscriptionsFile, func(old []byte) ([]byte, error) {
		s, err := t.parseSubscriptions(old)
		if err != nil {
			return nil, err
		}
		changed := false
		for _, at := range places {
			changed = t.subscribe(&s, at, on) || changed
		}
		if !changed {
			return nil, nil
		}
		return s.bytes(), nil
	})
}

// subscribe changes the parsed file and reports whether a change was necessary.
func (t *Tree) subscribe(s *subscriptions, at levels, on bool) bool {
	name := t.join(t.show(at))
	isName := func(line string) bool {
		got, ok := t.subscribedName(*s, line)
		return ok && got == name
	}
	if !on {
		before := len(s.lines)
		s.lines = slices.DeleteFunc(s.lines, isName)
		return len(s.lines) != before
	}
	if slices.ContainsFunc(s.lines, isName) {
		return false
	}
	s.lines = append(s.lines, s.line(at, t.layout.separator()))
	return true
}
