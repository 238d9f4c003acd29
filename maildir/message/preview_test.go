package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func previewOf(t testing.TB, text string) string {
	t.Helper()
	src := strings.NewReader(text)
	root, err := Parse(src, int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Preview(src, root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPreview(t *testing.T) {
	for _, test := range []struct{ what, mail, want string }{
		{"plain", "Subject: x\n\nHello,\n\n  how are\tyou?\n", "Hello, how are you?"},
		{"no body", "Subject: x\n", ""},
		{"quotes and signature", "Subject: x\n\n> you wrote\nYes.\n-- \nBob\n", "Yes."},
		{"only quotes", "Subject: x\n\n> you wrote\n>> I wrote\n", "you wrote I wrote"},
		{"only a signature", "Subject: x\n\n-- \nBob\n> quoted by Bob", "Bob quoted by Bob"},
		{"quoted html", "Content-Type: text/html\n\n<blockquote>one<p>two</blockquote> &nbsp;", "one two"},
		{"html, its head without an end", "Content-Type: text/html\n\n<html><head><title>no</title><style>p{}</style>\n<body><p>One", "One"},
		{"html, written as XML", "Content-Type: text/html\n\n<html><head><title/><script src='x'/></head><body><p>One<iframe src='x'><b>no</b></iframe><style/>two", "One two"},
		{"html, long styles", "Content-Type: text/html\n\n<style>" + strings.Repeat("p{}\n", 20_000) + "</style><p>One", "One"},
		{"empty alternative", "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n \n--b\nContent-Type: text/html\n\n<p>html\n--b--\n", "html"},
		{"text and what a list adds", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html\n--b\n\nfooter\n--b--\n", "html"},
		{"many empty parts", "Content-Type: multipart/mixed; boundary=b\n" + strings.Repeat("\n--b\n", 100) + "\ntext\n--b--\n", ""},
		{"8-bit text in a charset of 7 bits", "Content-Type: text/plain; charset=iso-2022-jp\n\nA\xa4\xa2\xa4 \xa4\xa4\xa4B", "A\ufffd \ufffdB"},
		{"padding", "Content-Type: text/html\n\n<p>One" + strings.Repeat("&nbsp;&zwnj;&#847; &#8203;", 100) + "two\u200d3", "One two\u200d3"},
		{"base64 in latin-1", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\nR3L832U=\n", "Grüße"},
		{"html", "Content-Type: text/html\n\n<html><head><title>no</title><style>p{}</style></head><body><p>One&amp;<b>two</b><br>three</p><script>x</script></body>", "One& two three"},
		{"alternative", "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html\n--b\nContent-Type: text/plain\n\nplain\n--b--\n", "plain"},
		{"attached text", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nattached\n--b\nContent-Type: text/html\n\nshown\n--b--\n", "shown"},
		{"picture", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n", ""},
		{"long", "Subject: x\n\n" + strings.Repeat("é", 500), strings.Repeat("é", previewLength)},
		{"not UTF-8", "Subject: x\n\nab\xffcd", "abcd"},
	} {
		if got := previewOf(t, test.mail); got != test.want {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}
}

func FuzzPreview(f *testing.F) {
	f.Add("Content-Type: text/html\n\n<p>One<blockquote>two</blockquote")
	f.Add("Content-Type: text/plain; charset=utf-7\n\n+AGE-")
	f.Add("Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<style>x</style><p>Gr=FC=DFe&amp;&#0;<br\n>zwei<script>if (a</script>\n--b--\n")
	f.Add("Content-Type: message/rfc822\n\nSubject: x\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("w7wg", 200))
	f.Add("\n> a\n> b\n\nOn Monday x wrote:\n\x00\t \u2028c\n-- \nd")
	f.Fuzz(func(t *testing.T, text string) {
		out := previewOf(t, text)
		if n := utf8.RuneCountInString(out); n > previewLength || !utf8.ValidString(out) || strings.ContainsAny(out, "\r\n") {
			t.Errorf("%q", out)
		}
	})
}
