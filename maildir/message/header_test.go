package message

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestReadHeader(t *testing.T) {
	long := strings.Repeat("X-Long: "+strings.Repeat("x", 70)+"\n", 1000)
	for _, c := range []struct {
		in, header string
		limit      int
		body       int // offset in the file
	}{
		{"A: 1\n\nbody", "A: 1\r\n\r\n", 100, 6},
		{"A: 1\r\n\r\nbody", "A: 1\r\n\r\n", 100, 8},
		{"A: 1\n\r\nbody", "A: 1\r\n\r\n", 100, 7},
		{"A: 1\r\n\nbody", "A: 1\r\n\r\n", 100, 7},
		{"\nbody", "\r\n", 100, 1},
		{"\r\nbody", "\r\n", 100, 2},
		{"", "", 100, 0},
		{"A: 1", "A: 1", 100, 4},
		{"A: 1\n", "A: 1\r\n", 100, 5},
		{"A: 1\n\r", "A: 1\r\n\r", 100, 6},
		{"A: 1\n\r\r\n\n", "A: 1\r\n\r\r\n\r\n", 100, 9},
		{"A: \x00\n\n", "A: \x80\r\n\r\n", 100, 6},
		{"A: 1\nB: 2\n\nbody", "A: 1\r\n", 8, 11},
		{"A: 12345\nB: 2\n\nbody", "", 8, 15},
		{"A: 1\n" + long[:70] + strings.Repeat("x", 50_000) + "\n\nbody", "A: 1\r\n", 30_000, 50_077},
		{long + "\nbody", inHeader(long) + "\r\n", 1 << 20, len(long) + 1},
	} {
		header, body, err := ReadHeader(nil, strings.NewReader(c.in), int64(len(c.in)), c.limit)
		want := Pos{int64(c.body), int64(len(inCRLF([]byte(c.in[:c.body]))))}
		if err != nil || string(header) != c.header || body != want {
			t.Errorf("%.40q: %.60q, body at %v, %v; want %.60q, %v", c.in, header, body, err, c.header, want)
		}
	}
}

func inHeader(s string) string { return string(inCRLF([]byte(s))) }

// TestHeaderEndsAsParsed finds the end of the header in both ways.
func TestHeaderEndsAsParsed(t *testing.T) {
	for name, data := range samples(t) {
		header, body, err := ReadHeader(nil, bytes.NewReader(data), int64(len(data)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if root := parse(t, data); root.Body != body {
			t.Errorf("%s: %v, parsed %v", name, body, root.Body)
		}
		if want := withoutNUL(inCRLF(data[:body.Phys])); !bytes.Equal(header, want) {
			t.Errorf("%s: %q, want %q", name, header, want)
		}
	}
}

func TestFields(t *testing.T) {
	const header = "A: 1\r\nb :2\r\n folded\r\nno colon\r\n\tcontinued: not a field\r\n: none\r\n C: 3\r\nD:\r\nA:4\r\n\r\n"
	var got []string
	eachField([]byte(header), func(name, value []byte) bool {
		got = append(got, fmt.Sprintf("%s=%s", name, value))
		return true
	})
	want := []string{"A= 1", "b=2\r\n folded", "D=", "A=4"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range []struct {
		names []string
		not   bool
		want  string
	}{
		{[]string{"a", "B"}, false, "A: 1\r\nb :2\r\n folded\r\nA:4\r\n\r\n"},
		{[]string{"x"}, false, "\r\n"},
		{[]string{"A", "b"}, true, "no colon\r\n\tcontinued: not a field\r\n: none\r\n C: 3\r\nD:\r\n\r\n"},
	} {
		if got := string(NewFieldSet(c.names, c.not).Append(nil, []byte(header))); got != c.want {
			t.Errorf("%v: %q, want %q", c.names, got, c.want)
		}
	}
	if got := string(NewFieldSet([]string{"b"}, false).Append([]byte("x"), []byte("A: 1\r\nB: 2"))); got != "xB: 2\r\n" {
		t.Errorf("without a blank line: %q", got)
	}
	if v, ok := Field([]byte(header), "B"); v != "2 folded" || !ok {
		t.Errorf("B is %q, %v", v, ok)
	}
	if v, ok := Field([]byte(header), "C"); ok {
		t.Errorf("C is %q", v)
	}
}

// addressText formats an address list as in IMAP.
func addressText(list []Address) string {
	var out []string
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			out = append(out, a.Mailbox+"{")
		case GroupEnd:
			out = append(out, "}")
		default:
			s := a.Mailbox + "@" + a.Host
			if a.Route != "" {
				s = a.Route + ":" + s
			}
			if a.Name != "" {
				s = fmt.Sprintf("%q %s", a.Name, s)
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{" \t ", ""},
		{"a@b", "a@b"},
		{"A B <a@b>", `"A B" a@b`},
		{`"A \"x\" \\ B" <a@b>`, `"A \"x\" \\ B" a@b`},
		{`"A" B "C"<a@b>`, `"A B C" a@b`},
		{"A  B\tC <a@b>", `"A B C" a@b`},
		{"A (x) B <a@b>", `"A B" a@b`},
		{`"" A "" <a@b>`, `"A " a@b`},
		{`"A B" <"c d"."e" . f@[x y> g`, `"A B" c d.e.f@[x y> g`},
		{`"A \"B`, `"A \"B" MISSING_MAILBOX@MISSING_DOMAIN`},
		{`"A B"`, `"A B" MISSING_MAILBOX@MISSING_DOMAIN`},
		{`"A", <a@b>`, `"A" MISSING_MAILBOX@MISSING_DOMAIN, a@b`},
		{"A B. C a.b@c, d@e", `"A B. C" a.b@c, d@e`},
		{`A "\B" "C d" . e@f (g)`, `"A B" C d.e@f`},
		{"A  B \t a . b @ c", `"A B" a.b@c`},
		{"a@b (A B)", `"A B" a@b`},
		{"(before) a@b", "a@b"},
		{"a@b (one) (two)", `"two" a@b`},
		{"<a@b> (A)", `"A" a@b`},
		{"A.B. <a@b>", `"A.B." a@b`},
		{"A. B <a@b>", `"A. B" a@b`},
		{"a . b @ c . d", "a.b@c.d"},
		{`"a b"@c`, "a b@c"},
		{"a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
		{"<@x,@y:a@b>", "@x,@y:a@b"},
		{"<@x , @y : a@b>", "@x,@y:a@b"},
		{"a@b, c@d", "a@b, c@d"},
		{",, a@b ,,c@d,", "a@b, c@d"},
		{"G: a@b, c@d;", "G{, a@b, c@d, }"},
		{"G:;", "G{, }"},
		{"G: a@b", "G{, a@b, }"},
		{"G: H: a@b;;", "G{, }, H{, a@b, }"},
		{`"The Group" : a@b;, c@d`, "The Group{, a@b, }, c@d"},
		{"a", "a@MISSING_DOMAIN"},
		{"a@", "a@MISSING_DOMAIN"},
		{"@b", "MISSING_MAILBOX@b"},
		{"<>", "MISSING_MAILBOX@MISSING_DOMAIN"},
		{"A <a>", `"A" a@MISSING_DOMAIN`},
		{"two words", `"two words" MISSING_MAILBOX@MISSING_DOMAIN`},
		{"a@b c", "a@b"},
		{"a@b c, d@e", "a@b, d@e"},
		{"A <a@b> c, d@e", `"A" a@b, d@e`},
		{"A <a@b", `"A" a@b`},
		{`"A <a@b>, c@d`, `"A <a@b>, c@d" MISSING_MAILBOX@MISSING_DOMAIN`},
		{"(A <a@b>, c@d", ""},
		{"(((((", ""},
		{")", "MISSING_MAILBOX@MISSING_DOMAIN"},
		{"::::a@b", "a@b"},
		{"a@b;c@d", "a@b, c@d"},
		{"=?utf-8?q?J=C3=BC?= <a@b>", `"=?utf-8?q?J=C3=BC?=" a@b`},
		{"J\xfcrgen <j\xfc@b>", "\"J\\xfcrgen\" j\xfc@b"},
	} {
		if got := addressText(parseAddresses(nil, c.in)); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("a@b,", 1<<17), strings.Repeat("(", 1<<17), strings.Repeat("\"", 1<<17), strings.Repeat("<", 1<<20),
		strings.Repeat("G:", 1<<17), strings.Repeat(":", 1<<17), strings.Repeat("a.", 1<<17), strings.Repeat("a@b ", 1<<17), strings.Repeat("a ", 1<<17) + "@b", strings.Repeat(`"\\a" `, 1<<17) + "@b",
	} {
		list := parseAddresses(nil, text)
		if len(list) > maxAddresses+2 {
			t.Errorf("%.10q: %d addresses", text, len(list))
		}
		open := 0
		for _, a := range list {
			switch a.Kind {
			case GroupStart:
				open++
			case GroupEnd:
				open--
			}
			if open < 0 || open > 1 {
				t.Fatalf("%.10q: groups do not end as they begin", text)
			}
		}
		if open != 0 {
			t.Errorf("%.10q: a group stays open", text)
		}
	}
}

func TestEnvelopeDefaults(t *testing.T) {
	e := ParseEnvelope([]byte("From: a@b\r\nReply-To: \r\nSender: s@b\r\n\r\n"))
	if addressText(e.Sender) != "s@b" || addressText(e.ReplyTo) != "a@b" || e.HasSubject || e.HasDate {
		t.Errorf("%+v", e)
	}
	e = ParseEnvelope([]byte("Subject:\r\n\r\n"))
	if !e.HasSubject || e.Subject != "" || e.From != nil || e.Sender != nil {
		t.Errorf("%+v", e)
	}
}

func TestParseDate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Mon, 03 Jun 2024 09:30:00 +0200", "2024-06-03 09:30:00 +0200"},
		{"3 Jun 2024 09:30 +0200", "2024-06-03 09:30:00 +0200"},
		{"Mon, 3 Jun 24 09:30:00 EDT", "2024-06-03 09:30:00 -0400"},
		{"3 Jun 99 09:30:00 GMT", "1999-06-03 09:30:00 +0000"},
		{"3 Jun 104 09:30:00 GMT", "2004-06-03 09:30:00 +0000"},
		{"Mon, 3 Jun 2024 09:30:00 +0200 (CEST)", "2024-06-03 09:30:00 +0200"},
		{"Mon (day), (a) 3 Jun (month) 2024 9:30:00 -0000", "2024-06-03 09:30:00 +0000"},
		{"Mon,3-Jun-2024 09:30:00 Z", "2024-06-03 09:30:00 +0000"},
		{"Monday, 3 June 2024 09.30.00 +0530", "2024-06-03 09:30:00 +0530"},
		{"31 Dec 2016 23:59:60 +0000", "2017-01-01 00:00:00 +0000"},
		{"3 Jun 2024 09:30:00", "2024-06-03 09:30:00 +0000"},
		{"31 Jun 2024 09:30:00 +0000", ""},
		{"3 Foo 2024 09:30:00 +0000", ""},
		{"3 Jun 2024 25:30:00 +0000", ""},
		{"yesterday", ""},
		{"", ""},
	} {
		date, ok := ParseDate(c.in)
		got := ""
		if ok {
			got = date.Format("2006-01-02 15:04:05 -0700")
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

// TestEachNamed checks that EachNamed finds what eachField finds, in any header.
func TestEachNamed(t *testing.T) {
	names := []string{"subject", "to", "x-a"}
	tokens := []string{"Subject", "subject", "To", "TO", "X-A", "X-Ab", ":", ": ", " ", "\t", "\r\n", "\n", "\n", "\r", "text", "\x00", ": a\n", " :b\r\n\tc\r\n"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var header []byte
		for range rnd.IntN(20) {
			header = append(header, tokens[rnd.IntN(len(tokens))]...)
		}
		var want, got []string
		eachField(header, func(name, value []byte) bool {
			if lower := strings.ToLower(string(name)); slices.Contains(names, lower) {
				want = append(want, lower+"="+string(value))
			}
			return true
		})
		EachNamed(header, names, func(i int, value []byte) { got = append(got, names[i]+"="+string(value)) })
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", header, got, want)
		}
	}
}

// TestManyFieldNames: a client may ask for thousands of fields of a header that has tens of
// thousands.
func TestManyFieldNames(t *testing.T) {
	var names []string
	for i := range 20_000 {
		names = append(names, fmt.Sprintf("A%04x", i))
	}
	none, one := strings.Repeat("affff: 1\r\n", 1<<16), "a4000: 2\r\n" // 16384
	for not, want := range map[bool]string{false: one + one, true: none} {
		if got := NewFieldSet(names, not).Append(nil, []byte(one+none+one)); string(got) != want {
			t.Errorf("not %v: %d octets, want %d", not, len(got), len(want))
		}
	}
}
