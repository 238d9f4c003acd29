package render

import (
	"bytes"
	"strings"
	"testing"

	"maildird/maildir/message"
	"maildird/server/imap/syntax"
)

// written returns what f writes.
func written(t *testing.T, f func(*syntax.Writer)) string {
	t.Helper()
	var out bytes.Buffer
	w := syntax.Writer{Dest: &out}
	f(&w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEnvelope(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{
			"Subject: =?utf-8?q?=C3=A4?= \"x\"\r\nFrom: Zoe <zoe@example.org>\r\nTo: friends: a@b.c, \"D, E\" <d@e.f>;\r\nMessage-ID: <1@x>\r\n",
			`(NIL "=?utf-8?q?=C3=A4?= \"x\"" (("Zoe" NIL "zoe" "example.org")) (("Zoe" NIL "zoe" "example.org")) (("Zoe" NIL "zoe" "example.org")) ` +
				`((NIL NIL "friends" NIL)(NIL NIL "a" "b.c")("D, E" NIL "d" "e.f")(NIL NIL NIL NIL)) NIL NIL NIL "<1@x>")`,
		},
	} {
		e := message.ParseEnvelope([]byte(tt.in + "\r\n"))
		if got := written(t, func(w *syntax.Writer) { Envelope(w, e) }); got != tt.want {
			t.Errorf("%q:\n%s, want\n%s", tt.in, got, tt.want)
		}
	}
}

func TestStructure(t *testing.T) {
	for _, tt := range []struct{ in, body, extended string }{
		{"Subject: x\n\nab\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1)`, `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1 NIL NIL NIL NIL)`},
		{
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\nContent-Disposition: attachment; filename=a.png\nContent-Language: de, en\nContent-Location: a/b\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\ny\n--b--\n",
			`(("image" "png" NIL NIL NIL "7bit" 1)("message" "rfc822" NIL NIL NIL "7bit" 16 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ` +
				`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) 2) "mixed")`,
			`(("image" "png" NIL NIL NIL "7bit" 1 NIL ("attachment" ("filename" "a.png")) ("de" "en") "a/b")("message" "rfc822" NIL NIL NIL "7bit" 16 ` +
				`(NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL) ` +
				`"mixed" ("boundary" "b") NIL NIL NIL)`,
		},
		{ // no string may contain a NUL (RFC 9051 section 9)
			"Content-Type: text/plain; charset=\"a\x00b\"\nContent-ID: <\x00>\n\nx", `("text" "plain" ("charset" ` + "{3}\r\na\x80b) {3}\r\n<\x80>" + ` NIL "7bit" 1 0)`,
			`("text" "plain" ("charset" ` + "{3}\r\na\x80b) {3}\r\n<\x80>" + ` NIL "7bit" 1 0 NIL NIL NIL NIL)`,
		},
	} {
		src := strings.NewReader(tt.in)
		root, err := message.Parse(src, src.Size())
		if err != nil {
			t.Fatal(err)
		}
		st, err := ReadStructure(src, root, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for extended, want := range map[bool]string{false: tt.body, true: tt.extended} {
			if got := written(t, func(w *syntax.Writer) { st.Write(w, extended) }); got != want {
				t.Errorf("%q:\n%s, want\n%s", tt.in, got, want)
			}
		}
	}
}
