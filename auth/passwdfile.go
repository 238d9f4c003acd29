package auth

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLine    = 4096 // bytes of a line of the users file
	maxNameLen = 254  // bytes of a user name
)

// problem is a line that cannot be used, or not to log in.
type problem struct {
	line int
	text string
	user bool // the line is that of a user, who cannot log in
	more int  // further users who cannot log in for the same reason
}

// parse parses a passwd-file: "name:{SCHEME}hash:uid:gid:gecos:home:shell:extra", in which
// fields may be missing at the end; "#" begins a comment (Dovecot: passdb passwd-file). Of several
// lines for a name the first counts, as in Dovecot. If that one cannot be used, no other does: it
// may have an old password, or another home.
func parse(text []byte, domains []string) (*table, []problem) {
	t := &table{byName: map[string]*entry{}, byLocal: map[string]*entry{}, leftOut: map[string]bool{}}
	var problems []problem
	firstLine := map[string]int{} // the first line of each name
	n := 0
	noPassword, first := -1, "" // the problem of all users without a password, who may be many, and the first of them
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name := nameOf(line, domains)
		if before := firstLine[name]; name != "" && before != 0 {
			problems = append(problems, problem{line: n, text: fmt.Sprintf("%s is already on line %d, which takes precedence", name, before)})
			continue
		}
		firstLine[name] = n
		e, err := parseLine(line, domains)
		switch {
		case err != nil:
			problems = append(problems, problem{line: n, text: err.Error()})
			if name != "" {
				local, _, _ := strings.Cut(name, "@")
				t.leftOut[name], t.leftOut[local] = true, true
			}
			continue
		case e.noLogin == nil:
			t.byHash = append(t.byHash, e)
		case e.never: // the line says so
		case e.noLogin == errNoPassword && noPassword >= 0:
			p := &problems[noPassword]
			p.more++
			p.text = fmt.Sprintf("%s and %d more cannot log in, but receive mail: %v", first, p.more, errNoPassword)
		default:
			if e.noLogin == errNoPassword {
				noPassword, first = len(problems), e.user.Name
			}
			problems = append(problems, problem{line: n, text: e.user.Name + " cannot log in, but receives mail: " + e.noLogin.Error(), user: true})
		}
		t.add(e)
	}
	slices.SortStableFunc(t.byHash, func(a, b *entry) int { return strings.Compare(a.hash, b.hash) })
	for _, domain := range domains {
		t.domains = append(t.domains, Fold(domain))
	}
	return t, problems
}

// parseLine parses a line. The error says why the line cannot be used. What is wrong with the
// password, or with a field that restricts logins, is no reason: as in Dovecot, it does not keep
// the user from receiving mail.
func parseLine(line string, domains []string) (*entry, error) {
	if len(line) > maxLine {
		return nil, fmt.Errorf("longer than %d bytes", maxLine)
	}
	if !utf8.ValidString(line) {
		return nil, errors.New("not UTF-8")
	}
	f := strings.Split(line, ":")
	name, err := userName(f[0], domains)
	if err != nil {
		return nil, err
	}
	if len(f) < 2 {
		return nil, errors.New("there is no colon after the name")
	}
	var misplaced error
	if len(f) > 6 && (strings.ContainsRune(f[6], '=') || slices.Contains(noLoginFields[:], f[6])) {
		field, _, isValue := strings.Cut(f[6], "=") // its value may be a key
		misplaced = fmt.Errorf("%q is in the place of the shell; extra fields come after another colon", field)
		if isValue {
			return nil, misplaced
		}
	}
	extra := extraFields(strings.Join(f[min(len(f), 7):], ":"))
	if err := checkExtra(extra); err != nil {
		return nil, err
	}
	e := &entry{user: User{Name: name, UID: -1, GID: -1}, hash: f[1]}
	for i, id := range []*int{&e.user.UID, &e.user.GID} {
		if len(f) > 2+i && f[2+i] != "" {
			n, err := strconv.ParseUint(f[2+i], 10, 32)
			if err != nil || n >= math.MaxUint32 || n > math.MaxInt { // int has 32 bits on some machines
				// No name service can be reached once the server is confined.
				return nil, fmt.Errorf("the %[1]s is not a number: names are not looked up; write what \"id -%.1[1]s NAME\" shows (and a plain-text password cannot contain a colon)",
					[...]string{"uid", "gid"}[i])
			}
			*id = int(n)
		}
	}
	if len(f) > 5 {
		e.user.Home = f[5]
	}
	if e.user.Quota, err = quotaOf(extra); err != nil {
		return nil, err
	}
	_, _, noPassword := schemeOf(e.hash)
	var noAccess, noKeys error
	e.access, noAccess = accessOf(extra)
	e.scram, noKeys = scramOf(e.hash, extra)
	e.noLogin = cmp.Or(noPassword, misplaced, noAccess, noKeys)
	e.user.proof = proofOf(e.hash, extra)
	return e, nil
}

// extraFields splits extra fields. "name:protected=value" sets a field that is not set yet, which
// makes no difference here.
func extraFields(text string) []string {
	fields := strings.Fields(text)
	for i, field := range fields {
		name, value, hasValue := strings.Cut(field, "=")
		if name, ok := strings.CutSuffix(name, ":protected"); ok {
			if fields[i] = name; hasValue {
				fields[i] += "=" + value
			}
		}
	}
	return fields
}

// unsupportedFields are extra fields of Dovecot that determine who a user is, where his mail is, or
// that he is not to be served at the moment. A user who has one is not served, since the field
// must not be ignored.
var unsupportedFields = [...]string{
	"delay_until", "domain", "login_user", "proxy", "proxy_maybe", "user", "username",
	"userdb_chroot", "userdb_domain", "userdb_fail", "userdb_gid", "userdb_home",
	"userdb_mail", "userdb_mail_chroot", "userdb_mail_gid", "userdb_mail_home", "userdb_mail_location", "userdb_mail_uid",
	"userdb_mail_control_path", "userdb_mail_inbox_path", "userdb_mail_path", // of 2.4
	"userdb_tempfail", "userdb_uid", "userdb_uidgid_file", "userdb_user", "userdb_userdb_import", "userdb_username",
}

func checkExtra(extra []string) error {
	for _, field := range extra {
		name, _, _ := strings.Cut(field, "=")
		if slices.Contains(unsupportedFields[:], name) || strings.HasPrefix(name, "userdb_namespace/") && strings.HasSuffix(name, "/location") {
			return fmt.Errorf("the extra field %s is not supported, and must not be ignored", name)
		}
	}
	return nil
}

// userName validates a name, and appends a domain if it has none.
func userName(name string, domains []string) (string, error) {
	name = Fold(name)
	if !strings.Contains(name, "@") && len(domains) > 0 {
		name += "@" + domains[0]
	}
	local, domain, _ := strings.Cut(name, "@")
	if local == "" || domain == "" || strings.Contains(domain, "@") {
		return "", fmt.Errorf("%q is not a user name: write an address or its local part", name)
	}
	for i, r := range name {
		if r <= ' ' || r == 0x7f || r == utf8.RuneError || unicode.IsSpace(r) || strings.ContainsRune(`/\:*?"<>|%`, r) {
			// The rest may contain the password, if the character was meant to be a colon.
			return "", fmt.Errorf("the user name that begins with %q contains %q, which is not allowed", name[:i], r)
		}
	}
	if local[0] == '.' || local[0] == '#' || domain[0] == '.' || // "#" would begin a comment
		len(name) > maxNameLen {
		return "", fmt.Errorf("%q cannot be a user name", name)
	}
	return name, nil
}
