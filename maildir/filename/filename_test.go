package filename

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestFlagsOf(t *testing.T) {
	for _, c := range []struct {
		name string
		want Flags
	}{
		{"1.M2P3.h", 0},
		{"1.M2P3.h:2,", 0},
		{"1.M2P3.h:2,S", Seen},
		{"1.M2P3.h:2,DFPRST", Draft | Flagged | Passed | Answered | Seen | Deleted},
		{"1.M2P3.h:2,SRaz", Seen | Answered | Keyword(0) | Keyword(25)},
		{"1.M2P3.h:1,RS", 0},         // experimental info: no flags
		{"1.M2P3.h!2,S", 0},          // '!' is part of the base
		{"1.M2P3.h:x:2,S", Seen},     // the last colon counts
		{"1.M2P3.h:2,S,foo=T", Seen}, // up to a comma
		{"1.M2P3.h:2,SX1", Seen},     // unknown letters mean nothing
		{"1.M2P3.h,S=12:2,", 0},
	} {
		if got := FlagsOf(c.name); got != c.want {
			t.Errorf("FlagsOf(%q) = %b, want %b", c.name, got, c.want)
		}
	}
}

func TestWithFlags(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Flags
		want string
	}{
		{"b", 0, "b:2,"},
		{"b", Seen, "b:2,S"},
		{"b:2,", Seen | Answered, "b:2,RS"},
		{"b:2,XS", Flagged, "b:2,FX"}, // an unknown letter stays
		{"b:2,S,keep=me", Keyword(1) | Seen, "b:2,Sb,keep=me"},
		{"b:1,RS", Seen, "b:2,S"}, // replaced, as Dovecot does
		{"b:x:2,S", 0, "b:x:2,"},
		{"1.M2P3.h:2,SXab", Seen | Answered | Keyword(0) | Keyword(1), "1.M2P3.h:2,RSXab"}, // ASCII order, as Dovecot has it
		{"1.M2P3.h:2,xX1S,more", Seen | Flagged, "1.M2P3.h:2,1FSX,more"},
	} {
		if got := WithFlags(c.name, c.f); got != c.want {
			t.Errorf("WithFlags(%q, %b) = %q, want %q", c.name, c.f, got, c.want)
		}
	}
}

func TestBase(t *testing.T) {
	for name, want := range map[string]string{"b": "b", "b:2,S": "b", "b:x:2,S": "b", ":2,S": ""} {
		if got := Base(name); got != want {
			t.Errorf("Base(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		base    string
		size, w int64
	}{
		{"1.h", -1, -1},
		{"1.h,S=12", 12, -1},
		{"1.h,S=12,W=13", 12, 13},
		{"1.h,W=13,S=12,U=4", 12, 13},
		{"1.h,S=,W=x", -1, -1},
		{"1.h,S=-3", -1, -1},
		{"1.h,S=12,S=13,W=14,W=15", 12, 14},
		{"1.h,S=x,S=13", -1, -1},
		{"1.h,S=99999999999999999999", -1, -1},
	} {
		if s, w := Sizes(c.base); s != c.size || w != c.w {
			t.Errorf("Sizes(%q) = %d, %d, want %d, %d", c.base, s, w, c.size, c.w)
		}
	}
}

func TestCompare(t *testing.T) {
	sorted := []string{
		"abc", // no seconds: second 0
		"9.M5P1.h",
		"10.\xc3\xa4.h", // octets above 127 come first
		"10.1_0.h",      // no microseconds: by the text
		"10.M5P1.h",     // seconds by number, not by text
		"10.M40P1.h",
		"10.M40P2.h",
		"10.P1M41.h", // anywhere in the second field
		"10.Z.h",
		"11.M18446744073709551615P.h", // wraps around, to -1
		"11.M007P2.h",                 // 7 microseconds: by the text
		"11.M7P1.h",
		"1700000000.1_0.host",
		"1700000000.M7P1.host",
		"1700000000.M100P1.host",
		"1700000000.P1.host",
		"1700000001.a",
		"1700000001.a.b:2,",
		"1700000001.a:2,",  // ':' comes after '.'
		"1700000001.a:2,S", // the same base: by the text
	}
	got := slices.Clone(sorted)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, Compare)
	if !slices.Equal(got, sorted) {
		t.Errorf("sorted as %q, want %q", got, sorted)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"1.M2P3.h,S=4,W=5:2,FS", ":2,S", "a:1,x", "a:2,S,b=c", "a:b:2,ZS", ""} {
		f.Add(s, uint32(Seen|Keyword(3)))
	}
	f.Fuzz(func(t *testing.T, name string, bits uint32) {
		want := Flags(bits)
		out := WithFlags(name, want)
		if Base(out) != Base(name) {
			t.Errorf("base of %q changed to %q", name, Base(out))
		}
		if got := FlagsOf(out); got != want {
			t.Errorf("WithFlags(%q, %b) = %q, which reads as %b", name, want, out, got)
		}
		if again := WithFlags(out, want); again != out {
			t.Errorf("not stable: %q, then %q", out, again)
		}
		if Regular(out) != (out == WithFlags(Base(name), want)) {
			t.Errorf("Regular(%q) is wrong", out)
		}
		if Ignored(name) && !strings.HasPrefix(name, ".") && name != "" && !strings.ContainsAny(name, "\r\n\x00/") {
			t.Errorf("%q is ignored", name)
		}
		Sizes(name)
	})
}

func BenchmarkFlagsOf(b *testing.B) {
	for b.Loop() {
		FlagsOf("1700000000.M123456P789V10I11.host.example.org,S=4321,W=4444:2,RSab")
	}
}
