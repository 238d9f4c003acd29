package folder

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// levels are the levels of a mailbox's name as they are on disk, in modified UTF-7 if the
// name was made by a mail program. It is empty for INBOX.
type levels []string

// maxName is the length in octets of the longest mailbox name, and maxLevels the greatest
// number of levels. Dovecot has the same limit of length.
const (
	maxName   = 4096
	maxLevels = 100
)

// unshowable replaces, in visible names, what clients cannot be shown.
const unshowable = "\uFFFD"

func badName(name, why string) error {
	if len(name) > 80 {
		name = strings.ToValidUTF8(name[:80], "") + "..."
	}
	return fmt.Errorf("%w: %q %s", ErrName, name, why)
}

// Canonical returns the canonical spelling of a name ("inbox" -> "INBOX", no trailing
// separator). The text of ErrName says why it cannot be the name of a mailbox; a name that
// passes may still be refused for a new one.
func (t *Tree) Canonical(name string) (string, error) {
	text, err := t.parse(name)
	if err != nil {
		return "", err
	}
	return t.join(text), nil
}

// join returns the name of a mailbox as clients see it.
func (t *Tree) join(text []string) string {
	if len(text) == 0 {
		return "INBOX"
	}
	return t.opt.Prefix + strings.Join(text, string(t.opt.Separator))
}

// parse splits a name as written by clients into its levels; none for INBOX.
func (t *Tree) parse(name string) ([]string, error) {
	if strings.EqualFold(name, "INBOX") {
		return nil, nil
	}
	if len(name) > maxName {
		return nil, badName(name, fmt.Sprintf("is longer than %d octets", maxName))
	}
	rest, ok := t.cutPrefix(name)
	if !ok {
		return nil, badName(name, fmt.Sprintf("does not begin with %q", t.opt.Prefix))
	}
	sep := string(t.opt.Separator)
	rest = strings.TrimSuffix(rest, sep)
	if rest == "" {
		if strings.EqualFold(t.opt.Prefix, "INBOX"+sep) {
			return nil, nil
		}
		return nil, badName(name, "has nothing after the prefix")
	}
	text := strings.Split(rest, sep)
	if len(text) > maxLevels {
		return nil, badName(name, fmt.Sprintf("has more than %d levels", maxLevels))
	}
	for i, level := range text {
		if why := t.refuseText(level); why != "" {
			if level == "" && i == 0 {
				why = "begins with the hierarchy separator"
			}
			return nil, badName(name, why)
		}
	}
	return t.inboxRule(text), nil
}

// cutPrefix removes the namespace prefix. The case of the word INBOX in it is ignored, as
// everywhere (RFC 9051 section 5.1).
func (t *Tree) cutPrefix(name string) (string, bool) {
	prefix := t.opt.Prefix
	const inbox = len("INBOX")
	if len(prefix) > inbox && strings.EqualFold(prefix[:inbox], "INBOX") && prefix[inbox] == t.opt.Separator &&
		len(name) > inbox && strings.EqualFold(name[:inbox], "INBOX") {
		return strings.CutPrefix(name[inbox:], prefix[inbox:])
	}
	return strings.CutPrefix(name, prefix)
}

// inboxRule treats the word INBOX as the first level like Dovecot. Without a prefix it
// means INBOX in any case, with or without levels below it. Below a prefix only the exact
// word by itself means INBOX; others are ordinary names.
func (t *Tree) inboxRule(text []string) []string {
	if t.opt.Prefix != "" {
		if len(text) == 1 && text[0] == "INBOX" {
			return nil
		}
		return text
	}
	if strings.EqualFold(text[0], "INBOX") {
		if len(text) == 1 {
			return nil
		}
		text[0] = "INBOX"
	}
	return text
}

// refuseText returns why a level cannot be part of a visible name, "" if it can.
func (t *Tree) refuseText(level string) string {
	if level == "" {
		return "has two hierarchy separators in a row"
	}
	if !utf8.ValidString(level) {
		return "is not valid UTF-8"
	}
	for i := 0; i < len(level); i++ {
		if level[i] < 0x20 || level[i] == 0x7f {
			return "contains a control character"
		}
		if level[i] == '/' || level[i] == t.layout.separator() {
			return fmt.Sprintf("contains %q, which is not the hierarchy separator here and cannot be stored on disk", level[i])
		}
	}
	return ""
}

// checkNew checks whether a mailbox may be created with this name.
func (t *Tree) checkNew(name string, text []string) error {
	if strings.HasPrefix(text[0], "~") {
		return badName(name, "begins with '~', which means a home directory in other places")
	}
	for _, level := range text {
		for _, r := range level {
			// RFC 9051 section 5.1 after Net-Unicode.
			if r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
				return badName(name, fmt.Sprintf("contains the control character U+%04X", r))
			}
		}
		if level == unshowable {
			return badName(name, "contains a level that stands for an unreadable one")
		}
	}
	if why := t.layout.refuse(encode(text)); why != "" {
		return badName(name, why)
	}
	return nil
}

// newPlace is parse and checkNew for a mailbox that is to be created.
func (t *Tree) newPlace(name string) (levels, error) {
	text, err := t.parse(name)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("%w: INBOX", ErrExists)
	}
	if err := t.checkNew(name, text); err != nil {
		return nil, err
	}
	return encode(text), nil
}

func encode(text []string) levels {
	disk := make(levels, len(text))
	for i, level := range text {
		disk[i] = EncodeUTF7(level)
	}
	return disk
}

// show returns the visible levels of a place on disk; none if the place is INBOX or hidden
// by it. Text that is not modified UTF-7 is shown as it is, as in Dovecot. Anything else in
// it that a client could not write in a name (octets that are not UTF-8, control
// characters, separators, empty levels) becomes U+FFFD. If two places look alike, the one
// that the visible name encodes to takes precedence, and the other cannot be reached until
// it is renamed on disk.
func (t *Tree) show(at levels) []string {
	if len(at) == 0 {
		return nil
	}
	text := make([]string, len(at))
	for i, level := range at {
		text[i] = t.showLevel(level)
	}
	return t.inboxRule(text)
}

func (t *Tree) showLevel(level string) string {
	text, err := DecodeUTF7(level)
	if err != nil {
		text = strings.ToValidUTF8(level, unshowable)
	}
	if text == "" {
		return unshowable
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '/' || r == rune(t.opt.Separator) || r == rune(t.layout.separator()) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// search finds the place on disk that is shown under a name but is not what the name
// encodes to. Names that cannot stand for such a place are not searched for.
func (t *Tree) search(text []string) (levels, bool, error) {
	plain := true
	for _, level := range text {
		for i := 0; i < len(level); i++ {
			plain = plain && isDirect(level[i])
		}
	}
	if plain && (t.opt.Prefix != "" || text[0] != "INBOX") {
		return nil, false, nil
	}
	var found levels
	want := t.join(text)
	err := t.layout.scan(t.root, func(at levels, _ bool) error {
		if t.join(t.show(at)) == want {
			found = at
			return errStop
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return nil, false, err
	}
	return found, found != nil, nil
}

// errStop ends a scan early.
var errStop = errors.New("stop")
