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
	maxLine     = 64 << 10 // bytes of a line of the aliases file, with those that continue it
	longestName = 254      // bytes of an address in it, as of a user's name
)

// table is what an aliases file says.
type table struct {
	entries []*entry
	byKey   map[string]*entry
	// unusable are the keys of lines that cannot be used: there is such an alias, but
	// nobody knows where it leads.
	unusable map[string]bool
}

// entry is a line of the file.
type entry struct {
	line    int
	of      address
	targets []address
}

// address is one of our domains, as that is configured. Without a domain it is one of
// all domains, or of the user who alone has the local part. Without a local part it is
// every address of the domain.
type address struct{ local, domain string }

// String is the address as the file has it, and the key of a table.
func (a address) String() string {
	if a.domain == "" {
		return a.local
	}
	return a.local + "@" + a.domain
}

// problem is a line that cannot be used, or not as it was meant.
type problem struct {
	line int
	text string
}

// domains are ours, as they are configured, by canonical form.
type domains map[string]string

func newDomains(list []string) domains {
	d := domains{}
	for _, name := range list {
		d[canonical(name)] = strings.ToLower(name)
	}
	return d
}

// canonical is the form in which domains are compared: A-labels in lower case.
func canonical(domain string) string {
	domain = strings.ToLower(domain)
	if a, err := idna.Lookup.ToASCII(domain); err == nil {
		return a
	}
	return domain
}

// parse reads an aliases file. Lines are those of Postfix's virtual(5): what begins
// with white space continues the line before, and empty lines and those whose first
// other character is "#" are passed over, also between the two.
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

// add takes a line, with those that continue it. An error says why it is not used.
func (t *table) add(line string, number int, ours domains) error {
	e := &entry{line: number}
	name, rest := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		name, rest = line[:i], line[i:]
	}
	if _, ok := ours[canonical(name)]; ok {
		return nil // "example.org anything" tells Postfix that mail for the domain is taken
	}
	var err error
	if e.of, err = parseAddress(name, ours); err != nil {
		return err
	}
	key := e.of.String()
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

// isDomain tells whether an address is all those of a domain.
func (a address) isDomain() bool { return a.local == "" }

// parseAddress reads "local@domain", "local" or "@domain".
func parseAddress(text string, ours domains) (address, error) {
	if !utf8.ValidString(text) {
		return address{}, errors.New("not UTF-8")
	}
	local, domain, hasDomain := strings.Cut(auth.Fold(text), "@")
	if strings.HasSuffix(text, ":") {
		// Of a users file, taken for this one by a slip, a hash follows the first colon.
		return address{}, fmt.Errorf("%q ends in a colon, as in another file format; here, name and addresses are separated by spaces", shorten(text[:strings.IndexByte(text, ':')+1]))
	}
	if len(text) > longestName || !hasDomain && local == "" || hasDomain && domain == "" || strings.HasPrefix(local, ".") ||
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

// shorten bounds what a file can put into the log.
func shorten(s string) string { return s[:min(len(s), 320)] }
