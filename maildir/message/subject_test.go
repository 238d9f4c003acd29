package message

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestBaseSubject(t *testing.T) {
	for _, test := range []struct {
		raw, base string
		reply     bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE :  hello", "hello", true},
		{"re[list]: hello", "hello", true},
		{"Re:Re: Fwd: FW: hello", "hello", true},
		{"hello (fwd)", "hello", true},
		{"hello (FWD) (fwd)  ", "hello", true},
		{"[list] hello", "hello", false},
		{"[a][b] Re: hello", "hello", true},
		{"Re: [list] hello", "hello", true},
		{"[list]", "[list]", false},
		{"Re: [list]", "[list]", true},
		{"[fwd: hello]", "hello", true},
		{"[Fwd: Re: [list] hello (fwd)]", "hello", true},
		{"Re: ", "", true},
		{"regarding: x", "regarding: x", false},
		{"hello\t  there\r\n world", "hello there world", false},
		{"=?utf-8?Q?Re:_gr=C3=BC=C3=9Fe?=", "grüße", true},
		{"[unclosed hello", "[unclosed hello", false},
		{"[a[b]] hello", "[a[b]] hello", false},
	} {
		base, reply := BaseSubject(test.raw)
		if base != test.base || reply != test.reply {
			t.Errorf("%q: %q %v, want %q %v", test.raw, base, reply, test.base, test.reply)
		}
	}
}

// slowLeaders is trimLeaders as described in RFC 5256 section 2.1, step by step.
func slowLeaders(s string) (rest string, found bool) {
	for {
		s = strings.TrimLeft(s, " ")
		start := s
		for after, more := subjectBlob(start); more; after, more = subjectBlob(start) {
			start = after
		}
		if t, ok := replyMark(start); ok { // (2)
			s, found = t, true
		} else if after, ok := subjectBlob(s); ok && after != "" { // (4)
			s = after
		} else {
			return s, found
		}
	}
}

func TestLeadersRandomly(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		var b strings.Builder
		for range rng.IntN(8) {
			b.WriteString([]string{"[a]", "[b] ", "re:", "Re [x] :", "fwd", "[", "]", " ", "x", "re", ":"}[rng.IntN(11)])
		}
		rest, found := trimLeaders(b.String())
		if want, reply := slowLeaders(b.String()); rest != want || found != reply {
			t.Fatalf("%q: %q %v, want %q %v", b.String(), rest, found, want, reply)
		}
	}
}

// TestSubjectBomb: a subject chosen by a stranger does not keep SORT busy for hours.
func TestSubjectBomb(t *testing.T) {
	for _, piece := range []string{"[a] ", "[a]", "re: ", "re[a]: ", "[a] re: ", "[fwd: ", "(fwd) ", "[", "]"} {
		base, _ := BaseSubject(strings.Repeat(piece, 1<<20/len(piece)) + "x")
		if !strings.HasSuffix(base, "x") {
			t.Errorf("%q: what is left ends in %.20q", piece, base[max(0, len(base)-20):])
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for value, want := range map[string][]string{
		"":                                   nil,
		"<a@b>":                              {"a@b"},
		"<a@b> <c@d>\r\n\t<e@f>":             {"a@b", "c@d", "e@f"},
		`<"01KF8JCEOCBS0045PS"@xxx.yyy.com>`: {"01KF8JCEOCBS0045PS@xxx.yyy.com"},
		`<"a\"b"@c>`:                         {`a"b@c`},
		"Your message of Monday <a@b>":       {"a@b"},
		"no identifier at all":               nil,
		"<not one> <@b> <a@> <c@d>":          {"c@d"},
		"<a@b <c@d>":                         {"c@d"},
		"<a@\r\n b>":                         {"a@b"},
		"<open@end":                          nil,
		"<<a@b>>":                            {"a@b"},
	} {
		if got := MessageIDs(value); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: [x] hello (fwd)", "[fwd: [fwd: a]]", "[[[[", "re[:", "=?utf-8?B?UmU6?= x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := BaseSubject(s)
		if strings.ContainsAny(base, "\r\n\t") && !strings.Contains(s, "=?") {
			t.Errorf("%q: white space in %q", s, base)
		}
		if again, _ := BaseSubject(base); again != base && !strings.Contains(base, "=?") {
			t.Errorf("%q: %q, then %q", s, base, again)
		}
		MessageIDs(s)
	})
}
