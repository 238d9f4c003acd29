package imapurl

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// shown formats a parsed URL.
func (u URL) shown() string {
	var b strings.Builder
	if u.Absolute {
		fmt.Fprintf(&b, "%s at %s: ", u.User, u.Host)
	}
	fmt.Fprintf(&b, "%s %d %d", u.Mailbox, u.Validity, u.UID)
	if u.Part.Name != "" {
		b.WriteString(" " + u.Part.Name)
	}
	if p := u.Part.Partial; p != nil {
		fmt.Fprintf(&b, " from %d", p.Offset)
		if p.Size != toTheEnd {
			fmt.Fprintf(&b, " size %d", p.Size)
		}
	}
	if a := u.Auth; a.Access != NoAccess {
		fmt.Fprintf(&b, " for %d %s until %s by %s %x of %s", a.Access, a.User, a.Expires.Format(time.RFC3339), a.Mechanism, a.Token, a.Rump)
	}
	return b.String()
}

func TestMessageURL(t *testing.T) {
	tests := []struct{ in, want string }{
		// RFC 4469, RFC 5092 section 9, RFC 4467.
		{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "Drafts 385759045 20 BODY[HEADER]"},
		{"/Drafts;UIDVALIDITY=385759045/;UID=20/;Section=2.MIME", "Drafts 385759045 20 BODY[2.MIME]"},
		{"/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9", "INBOX 785799047 113330 BODY[1.5.9]"},
		{"imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024", " at minbari.example.org: gray-council 385759045 20 from 0 size 1024"},
		{"imap://;AUTH=GSSAPI@minbari.example.org/gray-council/;uid=20/;section=1.2", " at minbari.example.org: gray-council 0 20 BODY[1.2]"},
		{"imap://joe@example.com/INBOX/;uid=20/;section=1.2", "joe at example.com: INBOX 0 20 BODY[1.2]"},
		{"IMAP://joe%40x;auth=*@[::1]:143/INBOX/;uid=20", "joe@x at [::1]:143: INBOX 0 20"},

		{"/INBOX/;UID=1", "INBOX 0 1"},
		{";UID=7", " 0 7"},
		{";uid=7/;Section=TEXT/;partial=3.4", " 0 7 BODY[TEXT] from 3 size 4"},
		{"/a/b/;UID=4294967295", "a/b 0 4294967295"},
		{"/a%2fb%20%C3%A4%3B/;UID=1", "a/b ä; 0 1"},
		{"/a&b=c:@d/;UID=1", "a&b=c:@d 0 1"},
		{"/a/;UID=1/;PARTIAL=9223372036854775807", "a 0 1 from 9223372036854775807"},
		{"/a/;UID=1/;SECTION=1.HEADER.FIELDS%20(To%20%22Cc%22)", "a 0 1 BODY[1.HEADER.FIELDS (To Cc)]"},
		{"/a/;UID=1/;SECTION=HEADER.FIELDS.NOT%20(x/y)/;PARTIAL=0", "a 0 1 BODY[HEADER.FIELDS.NOT (x/y)] from 0"},

		// RFC 4467.
		{
			"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a473744909de610943775f92038",
			"joe at example.com: INBOX 0 20 BODY[1.2] for 1 fred until 0001-01-01T00:00:00Z by INTERNAL 91354a473744909de610943775f92038 of imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred",
		},
		{
			"imap://joe@x/a/;UID=1;URLAUTH=user+j@x:internal:ab",
			"joe at x: a 0 1 for 2 j@x until 0001-01-01T00:00:00Z by INTERNAL ab of imap://joe@x/a/;UID=1;URLAUTH=user+j@x",
		},
		{
			"imap://joe@x/a/;UID=1;expire=2026-11-25t20:00:00.5-01:00;URLAUTH=User+j%40x",
			"joe at x: a 0 1 for 2 j@x until 2026-11-25T20:00:00-01:00 by   of imap://joe@x/a/;UID=1;expire=2026-11-25t20:00:00.5-01:00;URLAUTH=User+j%40x",
		},
		{"imap://joe@x/a/;UID=1;URLAUTH=authuser:X-Y.2:AB", "joe at x: a 0 1 for 3  until 0001-01-01T00:00:00Z by X-Y.2 ab of imap://joe@x/a/;UID=1;URLAUTH=authuser"},

		// Dot segments (RFC 3986 section 5.2.4, RFC 5092 section 9.1).
		{"/foo/../bar/;UID=1", "bar 0 1"},
		{"/../../bar/./;UID=1", "bar 0 1"},
		{"/foo/;UID=20/../;UID=30", "foo 0 30"},
		{"/..;UIDVALIDITY=385759045/;UID=20", ".. 385759045 20"},
		{"/%2e%2e/bob/;UID=1", "../bob 0 1"},
	}
	for _, tt := range tests {
		u, err := Parse(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		} else if got := u.shown(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestNoMessageURL(t *testing.T) {
	for _, in := range []string{
		"", "/", "//", "imap://", "imap://x", "imap://x/", "imap:///a/;UID=1", "imap://a@/b/;UID=1", "imap://a;b@c/d/;UID=1", "imap://a b@c/d/;UID=1",
		"//x/INBOX/;UID=1", "http://x/INBOX/;UID=1", "INBOX/;UID=1", "/INBOX", "/INBOX/", "/INBOX;UIDVALIDITY=1", "/INBOX?ALL", "/;UID=1", "//;UID=1",
		"/INBOX;UID=1", "/INBOX/;UID=", "/INBOX/;UID=0", "/INBOX/;UID=x", "/INBOX/;UID=-1", "/INBOX/;UID=4294967296", "/INBOX/;UID=" + strings.Repeat("9", 500),
		"/INBOX/;UID=1/", "/INBOX/;UID=1x", "/INBOX/;UID=1?ALL", "/INBOX/;UID=1#x", "/INBOX/;UID=1;SECTION=1", "/INBOX/;UID=1,2", "/INBOX/;UID=*",
		"/INBOX;UIDVALIDITY=0/;UID=1", "/INBOX;UIDVALIDITY=4294967296/;UID=1", "/INBOX;UIDVALIDITY=1;UID=1", "/INBOX/;UIDVALIDITY=1",
		"/INBOX/;UID=20/..", "/INBOX/;UID=20/.", ";UID=20/..",
		"/a%/;UID=1", "/a%2/;UID=1", "/a%xx/;UID=1", "/a%x1/;UID=1", "/a%1x/;UID=1", "/a%00/;UID=1", "/a\x00/;UID=1", "/a b/;UID=1", "/a\"b/;UID=1", "/\xc3\xa4/;UID=1", "/a\r\n/;UID=1", "/a[b]/;UID=1",
		"/a/;UID=1/;SECTION=", "/a/;UID=1/;SECTION=0", "/a/;UID=1/;SECTION=1.", "/a/;UID=1/;SECTION=MIME", "/a/;UID=1/;SECTION=x", "/a/;UID=1/;SECTION=1/",
		"/a/;UID=1/;SECTION=1%5D", "/a/;UID=1/;SECTION=1%5D%3C0.1%3E", "/a/;UID=1/;SECTION=HEADER.FIELDS", "/a/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3+%7D%0D%0Aabc)",
		"/a/;UID=1/;SECTION=%00", "/a/;UID=1/;SECTION=" + strings.Repeat("1.", 500) + "1", "/a/;UID=1/;SECTION=HEADER.FIELDS%20" + strings.Repeat("(", 500),
		"/a/;UID=1/;PARTIAL=", "/a/;UID=1/;PARTIAL=.1", "/a/;UID=1/;PARTIAL=1.", "/a/;UID=1/;PARTIAL=1.0", "/a/;UID=1/;PARTIAL=-1", "/a/;UID=1/;PARTIAL=9223372036854775808",
		"/a/;UID=1/;PARTIAL=1.9223372036854775808", "/a/;UID=1/;PARTIAL=1/;SECTION=1", "/a/;UID=1/;SECTION=1;PARTIAL=1", "/a/;UID=1/;PARTIAL=1/;PARTIAL=1",
		"/" + strings.Repeat("a", MaxLen) + "/;UID=1",
		"/a/;UID=1;URLAUTH=anonymous", "imap://x@y/a;URLAUTH=anonymous", "imap://x@y/../a/;UID=1;URLAUTH=anonymous", "imap://x@y/a/;UID=1;URLAUTH=", "imap://x@y/a/;UID=1;URLAUTH=user+",
		"imap://x@y/a/;UID=1;URLAUTH=nobody", "imap://x@y/a/;UID=1;URLAUTH=anonymous:", "imap://x@y/a/;UID=1;URLAUTH=anonymous:INTERNAL", "imap://x@y/a/;UID=1;URLAUTH=anonymous:INTERNAL:",
		"imap://x@y/a/;UID=1;URLAUTH=anonymous: :00", "imap://x@y/a/;UID=1;URLAUTH=anonymous::00", "imap://x@y/a/;UID=1;URLAUTH=anonymous:INTERNAL:0", "imap://x@y/a/;UID=1;URLAUTH=anonymous:INTERNAL:0g", "imap://x@y/a/;UID=1;URLAUTH=anonymousx", "imap://x@y/a/;UID=1/;URLAUTH=anonymous",
		"imap://x@y/a/;UID=1;EXPIRE=2026-11-25T20:00:00Z", "imap://x@y/a/;UID=1;EXPIRE=2026-11-25;URLAUTH=anonymous", "imap://x@y/a/;UID=1;EXPIRE=;URLAUTH=anonymous",
		"imap://x@y/a/;UID=1;EXPIRE=2026-13-25T20:00:00Z;URLAUTH=anonymous", "imap://x@y/a/;UID=1;URLAUTH=anonymous;EXPIRE=2026-11-25T20:00:00Z",
	} {
		if u, err := Parse(in); err == nil {
			t.Errorf("%q was understood as %s", in, u.shown())
		}
	}
}

// FuzzMessageURL parses arbitrary URLs. The result of a successful parse is complete, and the
// same when the URL is sent to a client and returned.
func FuzzMessageURL(f *testing.F) {
	for _, seed := range []string{
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", ";UID=7/;Section=1.2.TEXT/;partial=3.4", "imap://joe%40x;AUTH=*@[::1]:143/a%2Fb/../c/;uid=1",
		"/a/;UID=1/;SECTION=1.HEADER.FIELDS%20(To%20%22Cc%22)/;PARTIAL=0", "/%2e%2e/;UID=4294967295/..",
		"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a473744909de610943775f92038",
		"imap://joe@x/a/;UID=1;expire=2026-11-25t20:00:00.5-01:00;URLAUTH=User+j%40x", "imap://x/", "/INBOX?ALL", "%", "/a%00/;UID=1", "imap://x/a/;uid=1;urlauth=submit+a: :00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := Escape(text)
		for _, c := range []byte(shown) {
			if c <= ' ' || c >= 0x7f || c == ']' || c == '"' || c == '\\' {
				t.Fatalf("%q has no place in a response code", shown)
			}
		}
		u, err := Parse(text)
		if err != nil {
			return
		}
		if u.UID == 0 || strings.ContainsRune(u.Mailbox+u.User+u.Host, 0) || len(u.Part.Part) > 100 || !u.Part.Peek {
			t.Fatalf("%q: %+v", text, u)
		}
		if p := u.Part.Partial; p != nil && (p.Offset < 0 || p.Size <= 0) {
			t.Fatalf("%q: %+v", text, *p)
		}
		if len(shown) > MaxLen {
			return
		}
		if a := u.Auth; a.Access != NoAccess && (!u.Absolute || !strings.HasPrefix(text, a.Rump)) || a.Access == NoAccess && a.Token != nil {
			t.Fatalf("%q: %+v", text, a)
		}
		again, err := Parse(shown)
		again.Auth.Rump = u.Auth.Rump // depends on the spelling
		if err != nil || !reflect.DeepEqual(again, u) {
			t.Fatalf("%q was shown as %q, and is %+v and not %+v (%v)", text, shown, again, u, err)
		}
	})
}
