package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b/c", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"%/%", "a/b", true},
		{"%/%", "a/b/c", false},
		{"a/*", "a/b/c", true},
		{"a/*", "a", false},
		{"a*", "a", true},
		{"*c", "a/b/c", true},
		{"*%", "a/b", true},
		{"%*", "a/b", true},
		{"a%c", "a/c", false},
		{"a%c", "abc", true},
		{"*b%d", "a/b/bxd", true},
		{"inbox", "INBOX", true},
		{"iNb%", "INBOX", true},
		{"inbox/x", "INBOX/x", true},
		{"inbox/x", "INBOX/X", false},
		{"inboxes", "INBOXes", false},
		{"INBOXOx", "INBOX/x", false}, // "O" is to "/" as "i" is to "I"
		{"A", "a", false},
		{"", "", true},
		{"", "a", false},
		{"[Gmail]/All Mail", "[Gmail]/All Mail", true},
	}
	for _, tt := range tests {
		if got := New(tt.pattern, '/').Matches(tt.name); got != tt.want {
			t.Errorf("%q on %q: %v", tt.pattern, tt.name, got)
		}
	}
}

// slowMatch implements the definition.
func slowMatch(p, name string) bool {
	if p == "" {
		return name == ""
	}
	if p[0] == '*' || p[0] == '%' {
		if slowMatch(p[1:], name) {
			return true
		}
		return name != "" && (p[0] == '*' || name[0] != '/') && slowMatch(p, name[1:])
	}
	return name != "" && name[0] == p[0] && slowMatch(p[1:], name[1:])
}

func TestPatternsRandomly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(alphabet string, most int) string {
		b := make([]byte, rng.IntN(most+1))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		return string(b)
	}
	matched := 0
	for range 70_000 {
		text := draw("ab/%*", 8)
		p := New(text, '/')
		for range 3 { // a pattern can be used for many names
			name := draw("ab/", 10)
			want := slowMatch(text, name)
			if want {
				matched++
			}
			if got := p.Matches(name); got != want {
				t.Fatalf("%q on %q: %v", text, name, got)
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

// TestLongPatterns uses patterns whose bits extend over several words.
func TestLongPatterns(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	matched := 0
	for range 20_000 {
		// A name, and a pattern made from it that may be wrong in one place.
		name := make([]byte, 1+rng.IntN(300))
		for i := range name {
			name[i] = "abc/"[rng.IntN(4)]
		}
		var p []byte
		want := true
		for i := 0; i < len(name); {
			n := min(rng.IntN(100), len(name)-i)
			switch piece := string(name[i : i+n]); rng.IntN(4) {
			case 0:
				p = append(p, '*')
			case 1:
				if p = append(p, '%'); strings.Contains(piece, "/") {
					n = 0
				}
			default:
				p = append(p, piece...)
			}
			i += n
		}
		if rng.IntN(2) == 0 {
			if i := rng.IntN(len(p)); p[i] != '*' && p[i] != '%' {
				p[i], want = 'x', false
			}
		}
		if got := New(string(p), '/').Matches(string(name)); got != want {
			t.Fatalf("%q on %q: %v", p, name, got)
		}
		if want {
			matched++
		}
	}
	if matched < 5000 || matched > 19_000 {
		t.Errorf("%d matched", matched)
	}
}

// TestPatternBomb: the number of steps for a name is bounded even for a hostile pattern.
func TestPatternBomb(t *testing.T) {
	name := strings.Repeat("a", 4000)
	for _, p := range []string{
		strings.Repeat("*a", 2000) + "b", strings.Repeat("%a", 100_000), strings.Repeat("*%", 100_000) + "b",
		"*" + strings.Repeat("a", 2000) + "b", strings.Repeat("*aa%aa", 500) + "b",
	} {
		if New(p, '/').Matches(name) {
			t.Errorf("%.20q... matches", p)
		}
	}
}

func BenchmarkHostile(b *testing.B) {
	name := strings.Repeat("a", 240)
	p := New(strings.Repeat("*a", 239)+"b*", '/')
	for b.Loop() {
		p.Matches(name)
	}
}

func BenchmarkUsual(b *testing.B) {
	p := New("Archive/%", '/')
	for b.Loop() {
		p.Matches("Archive/2026 Something")
	}
}

// FuzzMatches compares with the definition, byte by byte.
func FuzzMatches(f *testing.F) {
	for _, s := range [][2]string{
		{"a%/*", "ab/c"}, {"inb%", "INBOX"}, {"%*%", "x/"}, {"iNBOX/%", "INBOX/\xff"}, {"*ü*", "grün"},
		{strings.Repeat("a", 62) + "*%/b%" + strings.Repeat("c", 60) + "*", strings.Repeat("a", 62) + "x/y/bz" + strings.Repeat("c", 60)},
		{strings.Repeat("*a", 64) + "%", strings.Repeat("ba", 70)}, {strings.Repeat("a%", 32) + "*" + strings.Repeat("/%", 64), strings.Repeat("a", 64) + strings.Repeat("/", 64)},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 400 || len(name) > 400 {
			return
		}
		p, want := New(pattern, '/'), definition(pattern, name)
		for range 2 { // it can be reused
			if got := p.Matches(name); got != want {
				t.Fatalf("%q on %q: %v", pattern, name, got)
			}
		}
	})
}

// definition is slowMatch for patterns of any length, with special treatment of INBOX.
func definition(p, name string) bool {
	fold := 0
	if name == "INBOX" || strings.HasPrefix(name, "INBOX/") {
		fold = 5
	}
	before := make([]bool, len(p)+1) // prefixes of the pattern that match the name so far
	for i := range len(name) + 1 {
		row := make([]bool, len(p)+1)
		row[0] = i == 0
		for j := range len(p) {
			switch c := p[j]; c {
			case '*', '%':
				row[j+1] = row[j] || i > 0 && before[j+1] && (c == '*' || name[i-1] != '/')
			default:
				row[j+1] = i > 0 && before[j] && (c == name[i-1] || i <= fold && 'a' <= c && c <= 'z' && c-'a'+'A' == name[i-1])
			}
		}
		before = row
	}
	return before[len(p)]
}
