package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Location is the path of a user's Maildir, with Dovecot's variables: %u the full address, %n
// its local part, %d its domain, %h the home directory in the users file, %% a percent sign.
type Location struct{ pattern string }

// parseLocation validates a pattern. A relative one is below dir.
func parseLocation(pattern, dir string) (Location, error) {
	if pattern == "" {
		return Location{}, errors.New("missing: the location of the users' mail, such as \"mail/%d/%n\"")
	}
	if strings.Contains(pattern, ":") { // as in Dovecot's maildir:~/Maildir:LAYOUT=fs
		return Location{}, fmt.Errorf("%q is not just a directory: omit \"maildir:\", write LAYOUT=fs as mail.layout, and see README for CONTROL=", pattern)
	}
	if strings.HasPrefix(pattern, "~") { // as in Dovecot's ~/Maildir
		return Location{}, fmt.Errorf("%q begins with a ~; write %%h for the home directory in the users file", pattern)
	}
	user := false
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			continue
		}
		i++
		if i == len(pattern) || strings.IndexByte("undh%", pattern[i]) < 0 {
			return Location{}, fmt.Errorf("%q has a %% that is not one of %%u %%n %%d %%h %%%%", pattern)
		}
		user = user || pattern[i] != 'd' && pattern[i] != '%'
	}
	if !user {
		return Location{}, fmt.Errorf("%q is the same Maildir for all users: use %%n, %%u or %%h", pattern)
	}
	if !filepath.IsAbs(pattern) && !strings.HasPrefix(pattern, "%h") {
		pattern = filepath.Join(dir, pattern)
	}
	return Location{pattern}, nil
}

// Expand returns the Maildir of a user. It returns an error if a part of the address could lead
// out of its directory, or if the pattern needs a home directory that the user does not have.
func (l Location) Expand(address, home string) (string, error) {
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], address[i+1:]
	}
	var b strings.Builder
	for i := 0; i < len(l.pattern); i++ {
		if l.pattern[i] != '%' {
			b.WriteByte(l.pattern[i])
			continue
		}
		i++
		v := ""
		switch l.pattern[i] {
		case 'u':
			v = address
		case 'n':
			v = local
		case 'd':
			v = domain
		case '%':
			v = "%"
		case 'h':
			if !filepath.IsAbs(home) {
				return "", fmt.Errorf("user %q has no home directory in the users file, which mail.location needs", address)
			}
			b.WriteString(home)
			continue
		}
		if v == "" || v[0] == '.' || strings.ContainsAny(v, "/\x00") {
			return "", fmt.Errorf("user name %q cannot be part of a path", address)
		}
		b.WriteString(v)
	}
	return filepath.Clean(b.String()), nil
}

// Fixed returns the directory that contains all users' Maildirs, "" if it
// depends on home directories.
func (l Location) Fixed() string {
	i := strings.IndexByte(l.pattern, '%')
	if i <= 0 {
		return ""
	}
	return filepath.Clean(l.pattern[:strings.LastIndexByte(l.pattern[:i], '/')+1])
}
