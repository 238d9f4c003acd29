package smtp

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		in            string
		local, domain string
		rest          string
		err           error
	}{
		{in: "<a@b.example>", local: "a", domain: "b.example"},
		{in: "<a@b.example> SIZE=1", local: "a", domain: "b.example", rest: " SIZE=1"},
		{in: "<Postmaster>", local: "Postmaster"},
		{in: "a@b.example BODY=7BIT", local: "a", domain: "b.example", rest: " BODY=7BIT"},
		{in: "<a.b+c=d@b.example>", local: "a.b+c=d", domain: "b.example"},
		{in: "<.a..b.@b.example>", local: ".a..b.", domain: "b.example"}, // such addresses exist
		{in: `<"a b"@b.example>`, local: "a b", domain: "b.example"},
		{in: `<"a\"\\b"@b.example>`, local: `a"\b`, domain: "b.example"},
		{in: `<"a>b"@b.example>`, local: "a>b", domain: "b.example"},
		{in: `<"a@c.example"@b.example>`, local: "a@c.example", domain: "b.example"},
		{in: `<"../../etc/passwd"@b.example>`, local: "../../etc/passwd", domain: "b.example"},
		{in: "<../../etc/passwd@b.example>", local: "../../etc/passwd", domain: "b.example"},
		{in: "<a%c.example@b.example>", local: "a%c.example", domain: "b.example"},
		{in: "<c.example!a@b.example>", local: "c.example!a", domain: "b.example"},
		{in: "<@r.example:a@b.example>", local: "a", domain: "b.example"},
		{in: "<@r.example,@s.example:a@b.example>", local: "a", domain: "b.example"},
		{in: "<a@[192.0.2.1]>", local: "a", domain: "[192.0.2.1]"},
		{in: "<a@[IPv6:2001:db8::1]>", local: "a", domain: "[IPv6:2001:db8::1]"},
		{in: "<a@b_c.example>", local: "a", domain: "b_c.example"},
		{in: "<" + long(longestLocal) + "@b.example>", local: long(longestLocal), domain: "b.example"},
		{in: `<""@b.example>`, domain: "b.example"},
		{in: "<грета@пример.example>", local: "грета", domain: "пример.example"},

		{in: "", err: errPath},
		{in: "<", err: errPath},
		{in: "<@>", err: errRoute},
		{in: "<a@>", err: errDomain},
		{in: "<@b.example>", err: errRoute},
		{in: "<a@b.example", err: errNoBracket},
		{in: "<a@b.example>x", err: errTrailing},
		{in: "<a@b@c.example>", err: errDomain},
		{in: "<a b@c.example>", err: errNoBracket},
		{in: "<a@b c.example>", err: errNoBracket},
		{in: "<a@-b.example>", err: errDomain},
		{in: "<a@b..example>", err: errDomain},
		{in: "<a@b.example.>", err: errDomain},
		{in: "<a@../b.example>", err: errDomain},
		{in: "<a@[192.0.2.256]>", err: errDomain},
		{in: "<a@[IPv6:192.0.2.1]>", err: errDomain},
		{in: "<a@[2001:db8::1]>", err: errDomain},
		{in: "<a@[IPv6:fe80::1%eth0]>", err: errDomain},
		{in: "<" + long(longestLocal+1) + "@b.example>", err: errLong},
		{in: `<"` + strings.Repeat(`\"`, longestLocal/2-1) + `"@b.example>`, local: strings.Repeat(`"`, longestLocal/2-1), domain: "b.example"},
		{in: `<"` + strings.Repeat(`\"`, longestLocal/2) + `"@b.example>`, err: errLong},
		{in: "<a@" + strings.Repeat("x.", 128) + "x>", err: errLong},
		{in: `<"a@b.example>`, err: errLocal},
		{in: "<\"a\x00b\"@b.example>", err: errLocal},
		{in: "<a\x00b@b.example>", err: errNoBracket},
		{in: `<"a\`, err: errLocal},
		{in: `<"">`, err: errPath},
		{in: "<@b.example", err: errRoute},
		{in: "<@r.example,s.example:a@b.example>", err: errRoute},
		{in: "<\xff@b.example>", err: errNotUTF8},
	} {
		a, null, rest, err := parsePath(c.in, true)
		if !errors.Is(err, c.err) || null || a != (address{c.local, c.domain}) || rest != c.rest {
			t.Errorf("%q: %q at %q, rest %q, %v", c.in, a.local, a.domain, rest, err)
		}
	}
	if _, null, rest, err := parsePath("<> SIZE=1", false); !null || rest != " SIZE=1" || err != nil {
		t.Error("null path:", null, rest, err)
	}
	if _, _, _, err := parsePath("<ä@b.example>", false); !errors.Is(err, errUTF8) {
		t.Error("UTF-8 without SMTPUTF8:", err)
	}
}

// TestAddressText: an address is written in the syntax that every server understands, whatever
// the client did.
func TestAddressText(t *testing.T) {
	for in, want := range map[string]string{
		"<a.b@c.example>": "a.b@c.example", `<"a.b"@c.example>`: "a.b@c.example", "<a..b@c.example>": `"a..b"@c.example`,
		"<.a@c.example>": `".a"@c.example`, "<a.@c.example>": `"a."@c.example`, `<""@c.example>`: `""@c.example`,
		`<"a\ b"@c.example>`: `"a b"@c.example`, `<"a\"\\"@c.example>`: `"a\"\\"@c.example`, `<"a@b"@[192.0.2.1]>`: `"a@b"@[192.0.2.1]`,
		"<gréta@ü.example>": "gréta@ü.example", "<Postmaster>": "Postmaster",
	} {
		if a, _, _, err := parsePath(in, true); err != nil || a.String() != want {
			t.Errorf("%s is written as %s, want %s; %v", in, a, want, err)
		}
	}
}

// FuzzParsePath: an accepted address contains no byte that could end a line or a header field,
// and its text form is parsed as the same address.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<a@b.example> SIZE=1", "<>", "<Postmaster>", `<"a\"b"@[IPv6:::1]>`, `<""@b>`, `<@[1.2.3.4],@b:"a b"@c> X`, "a@[tag:x] SIZE", "<a.b@-c>", "<a@b_c.d>", "<a@" + strings.Repeat("b.", 127) + "c>", "<@a,@b:c@d>", "a@b", "<ä@ö>", "<\"\xff\"@b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			t.Skip("not one line")
		}
		for _, utf8 := range []bool{false, true} {
			a, null, rest, err := parsePath(s, utf8)
			if err != nil {
				if a != (address{}) || null {
					t.Fatalf("%q: %+v beside %v", s, a, err)
				}
				continue
			}
			if rest != "" && rest[0] != ' ' {
				t.Fatalf("%q: rest %q", s, rest)
			}
			if null {
				continue
			}
			text := a.String()
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%q: %q holds control characters", s, text)
			}
			if len(a.local) > longestLocal || len(a.domain) > longestDomain {
				t.Fatalf("%q: too long", s)
			}
			again, _, rest, err := parsePath("<"+text+">", utf8)
			if err != nil || again != a || rest != "" {
				t.Fatalf("%q: %q is read as %+v, %v", s, text, again, err)
			}
		}
	})
}

// TestBare: refused recipients are logged in the same form as accepted ones.
func TestBare(t *testing.T) {
	for in, want := range map[string]string{
		"<eve@example.org>": "eve@example.org", " <eve@example.org> NOTIFY=NEVER": "eve@example.org", "<>": "",
		"eve@example.org": "eve@example.org", "<eve@example.org": "<eve@example.org", ">": ">", "": "",
	} {
		if got := bare(in); got != want {
			t.Errorf("bare(%q) = %q, want %q", in, got, want)
		}
	}
}
