package aliases

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"maildird/auth"
)

const (
	maxLine       = 64 << 10 // bytes of a line of the aliases file, including its continuation lines
	maxAddressLen = 254      // bytes of an address, as for a user name
)

// table is the content of an aliases file.
type table struct {
	entries []*entry
	byKey   map[string]*entry
	// unusable are the keys of unusable lines: the alias exists, but it is not
	// known where it leads.
	unusable map[string]bool
}

// entry is a line of the file.
type entry struct {
	line    int
	of      address
	targets []address
}

// address is an address in one of our domains, as configured. Without a domain it is an address
// in all domains, or the user who alone has the local part. Without a local part it is every
// address of the domain.
type address struct{ local, domain string }

// String returns the address as in the file. It is also the key in a table.
func (a address) String() string {
	if a.domain == "" {
		return a.local
	}
	return a.local + "@" + a.domain
}

// problem is a line that cannot be used, or not as intended.
type problem struct {
	line int
	text string
}

// domains are our domains as configured, by canonical form.
type domains map[string]string

func newDomains(list []string) domains {
	d := domains{}
	for _, name := range list {
		d[canonical(name)] = strings.ToLower(name)
	}
	return d
}

// canonical returns the form in which domains are compared: A-labels in lower case.
func canonical(domain string) string {
	domain = strings.ToLower(domain)
	if a, err := idna.Lookup.ToASCII(domain); err == nil {
		return a
	}
	return domain
}

// parse parses an aliases file. Its lines are those of Postfix's virtual(5): a line that begins
// with white space continues the preceding one. Empty lines, and lines whose first other
// character is "#", are ignored, even between the two.
func parse(text []byte, ours domains) (*table, []problem) {
	t := &table{byKey: map[string]*entry{}, unusable: map[string]bool{}}
	var problems []problem
	var logical strings.Builder
	began, n := 0, 0
	end := func() {
		if logical.Len() > 0 {
			if err := t.add(logical.String(), began, ours); err != nil {
				problems = append(problems, problem{began, err.Error()})
			}
		}
		logical.Reset()
	}
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch bare := strings.TrimSpace(line); {
		case bare == "" || bare[0] == '#':
		case !isBlank(rune(line[0])):
			end()
			began = n
			logical.WriteString(line[:min(len(line), maxLine+1)])
		case logical.Len() == 0:
			problems = append(problems, problem{n, "begins with white space, but there is no line for it to continue"})
		case logical.Len() <= maxLine:
			logical.WriteString(line[:min(len(line), maxLine+1)])
		}
	}
	end()
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	return t, problems
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }

// add adds a line, including its continuation lines. The error says why it is not used.
func (t *table) add(line string, number int, ours domains) error {
	e := &entry{line: number}
	name, rest := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		name, rest = line[:i], line[i:]
	}
	if _, ok := ours[canonical(name)]; ok {
		return nil // "example.org anything" tells Postfix to accept mail for the domain
	}
	var err error
	if e.of, err = parseAddress(name, ours); err != nil {
		return err
	}
	key := e.of.String()
	if e.of.local == "*" || strings.HasPrefix(e.of.local, "/") {
		return fmt.Errorf("%q is taken literally, not as a pattern; the catch-all of a domain is written @example.org", shorten(name))
	}
	if err := e.parseTargets(line, rest, ours); err != nil {
		t.unusable[key] = true
		return err
	}
	if other := t.byKey[key]; other != nil {
		return fmt.Errorf("%s is already on line %d, which takes precedence", key, other.line)
	}
	t.entries = append(t.entries, e)
	t.byKey[key] = e
	return nil
}

func (e *entry) parseTargets(line, rest string, ours domains) error {
	switch {
	case len(line) > maxLine:
		return fmt.Errorf("longer than %d bytes, including its continuation lines", maxLine)
	case !utf8.ValidString(line):
		return errors.New("not UTF-8")
	}
	for _, name := range strings.FieldsFunc(rest, func(r rune) bool { return isBlank(r) || r == ',' }) {
		if strings.ContainsRune(`|/":`, rune(name[0])) {
			return fmt.Errorf("%q is a command, a file or a list; an alias can lead only to users and other aliases", shorten(name))
		}
		a, err := parseAddress(name, ours)
		if err != nil {
			return err
		}
		e.targets = append(e.targets, a)
	}
	switch {
	case len(e.targets) == 0:
		return fmt.Errorf("%s leads to nobody", e.of)
	case len(e.targets) > MaxUsers:
		return fmt.Errorf("%s has more than %d addresses", e.of, MaxUsers)
	case slices.ContainsFunc(e.targets, address.isDomain) && (len(e.targets) > 1 || !e.of.isDomain()):
		return errors.New("a domain can be the only target, and of a whole domain only: @example.net @example.org")
	}
	return nil
}

// isDomain reports whether an address stands for all addresses of a domain.
func (a address) isDomain() bool { return a.local == "" }

// parseAddress parses "local@domain", "local" or "@domain".
func parseAddress(text string, ours domains) (address, error) {
	if !utf8.ValidString(text) {
		return address{}, errors.New("not UTF-8")
	}
	local, domain, hasDomain := strings.Cut(auth.Fold(text), "@")
	if strings.HasSuffix(text, ":") {
		// In a users file, which may have been named by mistake, a hash follows
		// the first colon.
		return address{}, fmt.Errorf("%q ends in a colon, as in another file format; here, name and addresses are separated by spaces", shorten(text[:strings.IndexByte(text, ':')+1]))
	}
	if len(text) > maxAddressLen || !hasDomain && local == "" || hasDomain && domain == "" || strings.HasPrefix(local, ".") ||
		strings.ContainsFunc(local+domain, func(r rune) bool {
			return r <= ' ' || r == 0x7f || unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError || strings.ContainsRune(`"(),:;<>@[\]`, r)
		}) {
		if i := strings.IndexByte(text, ':'); i >= 0 {
			text = text[:i+1] // see above
		}
		return address{}, fmt.Errorf("%q is not an address, its local part, or a domain such as @example.org", shorten(text))
	}
	if !hasDomain {
		return address{local: local}, nil
	}
	configured, ok := ours[canonical(domain)]
	if !ok {
		return address{}, fmt.Errorf("%q is not in a domain of this server, and mail is not forwarded to other domains", shorten(text))
	}
	return address{local, configured}, nil
}

// shorten limits how much of a file can get into the log.
func shorten(s string) string { return s[:min(len(s), 320)] }
