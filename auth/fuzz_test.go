package auth

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// FuzzParse parses any users file: each line that is not a comment results in a user or
// a problem (or both, if nobody can log in as him), under a name that can be that of a directory, and a line is parsed
// whatever comes before it.
func FuzzParse(f *testing.F) {
	scram := "1,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, text := range []string{
		file, "a:{PLAIN}:\n:::::\nb:\nc::1\nd:::::::nologin\n", "a:{scram-sha-256}" + scram + "\r\nb:$6$x$y::::::nologin scram_sha_256=" + scram,
		"a:{CRYPT}$2y$05$x:0:4294967294::/h::allow_nets=192.0.2.0/24,::1,local userdb_quota_rule=*:storage=1G:messages=5\n",
		"a@b:{PLAIN}x::::::userdb_quota_rule=*:ignore\na@b@c:{PLAIN}x\nd:{PLAIN}x:4294967295\ne:{PLAIN}x::::::user=x\n", "A\u0130:{PLAIN}x\n\xff:{PLAIN}x\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, problems := parse([]byte(text), domains)
		lines := 0
		for line := range strings.SplitSeq(text, "\n") {
			if strings.TrimSpace(line) != "" && line[0] != '#' {
				lines++
			}
		}
		noLogin, more := 0, 0
		for _, p := range problems {
			if more += p.more; p.user {
				noLogin += 1 + p.more
			}
		}
		silent := 0
		for _, e := range table.entries {
			if e.noLogin != nil && e.never {
				silent++
			}
		}
		if len(table.entries)+len(problems)+more-noLogin != lines || len(table.byHash) != len(table.entries)-noLogin-silent {
			t.Errorf("%d users, of whom %d can log in, %d problems, %d lines", len(table.entries), len(table.byHash), len(problems), lines)
		}
		for _, e := range table.entries {
			u := e.user
			if strings.ContainsAny(u.Name, "/\x00\n: ") || strings.Count(u.Name, "@") != 1 || strings.HasPrefix(u.Name, ".") || len(u.Name) > maxNameLen {
				t.Errorf("user name %q", u.Name)
			}
			if table.find(u.Name) != e {
				t.Errorf("%q cannot be found", u.Name)
			}
			if q := u.Quota; u.UID < -1 || u.GID < -1 || q != nil && (q.Bytes < 0 || q.Messages < 0) {
				t.Errorf("%+v", u)
			}
		}
		const zoe = "zoe@example.org"
		if strings.Contains(strings.ToLower(text), "zoe") {
			return
		}
		if table, _ = parse([]byte(text+"\n"+zoe+":{PLAIN}z:7\n"), domains); table.find(zoe) == nil || table.find(zoe).user.UID != 7 {
			t.Errorf("%q hides the next line", text)
		}
	})
}

// FuzzMatches checks a password against any contents of a users file, except for hashes that
// are too expensive for a fuzz test. What passes the check at the start never fails at a login.
func FuzzMatches(f *testing.F) {
	for _, stored := range []string{
		"{PLAIN}x", "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "{ARGON2I}$argon2i$v=19$m=8,t=1,p=1$c2FsdA$aA",
		"$6$salt$x", "$5$rounds=10$salt$x", "{CRYPT}$2y$04$7P3QbZ1mFq0m0tK3oXx2UuY6sS0f7w1Zy2o0E9y7a2o7mXn6y0G6e", "{SSHA256}eA==",
		"$1$salt$x", "{PBKDF2}$1$salt$5$d193cdbe49d235cdf784f287de7e04cb7a2225ce", "{MD5}74a11ef33c5252edfa87c4eb8b566c2a", "{SHA}PDUC6jG3V40qqE4XqHRFLkyoMVM=", "$y$j7.$..$rICfixLmXzaS7TvpRjGeVwKCG6CHHvgrHYdc/o5yBr.",
		"{SCRAM-SHA-256}1,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "{", "}", "{}", "$", "",
	} {
		f.Add(stored, "x")
	}
	numbers := regexp.MustCompile(`[0-9]+`)
	costly := regexp.MustCompile(`\$2.?\$(0[5-9]|[1-9])|\$y\$j([^7]|7[^./])`)
	f.Fuzz(func(t *testing.T, stored, password string) {
		for _, n := range numbers.FindAllString(stored, -1) {
			if n, err := strconv.Atoi(n); err != nil || n > 64 {
				return
			}
		}
		if costly.MatchString(stored) || len(stored)+len(password) > maxLine {
			return
		}
		_, _, unusable := schemeOf(stored)
		ok, err := matches(stored, []byte(password))
		if ok && err != nil || (err == nil) != (unusable == nil) {
			t.Fatalf("%q: it is right (%v), and %v; before it was tried, %v", stored, ok, err, unusable)
		}
		if plain, is := strings.CutPrefix(stored, "{PLAIN}"); is && err == nil && ok != (plain == password) {
			t.Fatalf("%q and %q: %v", stored, password, ok)
		}
	})
}
