package order

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/message"
	"maildird/scripts/mailgen"
	"maildird/server/imap/casemap"
)

// plainKeys computes the keys from the whole header, as described in RFC 5256, and returns the
// identifiers as a list.
func plainKeys(head []byte) (o Keys, ids []string) {
	e := message.ParseEnvelope(head)
	if t, ok := message.ParseDate(e.Date); ok {
		o.Sent, o.Dated = t.Unix(), true
	}
	base, reply := message.BaseSubject(e.Subject)
	o.Reply = reply
	mailboxOf := func(list []message.Address) string {
		if len(list) == 0 || list[0].Mailbox == message.MissingMailbox {
			return ""
		}
		return list[0].Mailbox
	}
	displayed := func(list []message.Address) string {
		if len(list) == 0 {
			return ""
		}
		return displayName(&list[0])
	}
	for i, text := range []string{base, mailboxOf(e.From), mailboxOf(e.To), mailboxOf(e.Cc), displayed(e.From), displayed(e.To)} {
		o.Texts[i] = casemap.Append(nil, []byte(text))
	}
	references, _ := message.Field(head, "References")
	ids = message.MessageIDs(references)
	if len(ids) == 0 {
		if ids = message.MessageIDs(e.InReplyTo); len(ids) > 1 {
			ids = ids[:1]
		}
	}
	if n := len(ids); n > maxReferences {
		ids = slices.Concat(ids[:maxReferences/2], ids[n-maxReferences/2:])
	}
	if own := message.MessageIDs(e.MessageID); len(own) > 0 {
		return o, slices.Insert(ids, 0, own[0])
	}
	return o, slices.Insert(ids, 0, "")
}

// checkKeys checks that the keys that come from the cache equal those of the header.
func checkKeys(t *testing.T, head []byte) {
	t.Helper()
	raw := Append([]byte("before"), head)
	var got Keys
	if !got.Parse(raw[len("before"):]) {
		t.Fatalf("%q: cannot be read again", head)
	}
	want, ids := plainKeys(head)
	if got.Dated != want.Dated || got.Dated && got.Sent != want.Sent || got.Reply != want.Reply {
		t.Fatalf("%q: %+v, want %+v", head, got, want)
	}
	for i := range want.Texts {
		if w := want.Texts[i]; !bytes.Equal(got.Texts[i], w[:min(len(w), maxText)]) {
			t.Fatalf("%q: text %d is %q, want %q", head, i, got.Texts[i], w)
		}
	}
	var all []string
	for id := range got.IDs() {
		all = append(all, string(id))
	}
	if !slices.Equal(all, ids) {
		t.Fatalf("%q: identifiers %q, want %q", head, all, ids)
	}
}

// heads are difficult headers.
var heads = []string{
	"", "\r\n", "Date: \r\nSubject: Re: [x] \x00 fwd: [fwd: a]\r\nFrom: =?utf-8?q?=C3=A4?= <>, x@y\r\n\r\n",
	"Subject: a\r\nsubject : =?utf-8?B?w6Q=?=\r\n b (fwd)\r\nDate: 31 Dec 2016 23:59:60 -0130 (x)\r\nDate: 1 Jan 1000 00:00 Z\r\n\r\n",
	"From: friends: a@b, c@d;\r\nTo: ,,;\r\nTo: \"a\\\"b\" <@r:c@d>\r\nCc: (only a comment)\r\nCc: undisclosed:;\r\n\r\n",
	"References: <a@b><\"c d\"@e>\r\n\t<f@g\r\nReferences: <no@more>\r\nIn-Reply-To: <x@y> <z@y>\r\nMessage-ID: <\"q\\\"\"@r>\r\n\r\n",
	"In-Reply-To: your mail <x@y> <z@y>\r\nMessage-ID: none\r\n\r\n",
	"Subject: " + strings.Repeat("\xc3\xa4b", maxText) + "\r\nFrom: " + strings.Repeat("x", 3*maxText) + "@y\r\n\r\n",
	"References:" + strings.Repeat(" <a@b>", maxReferences+1) + "\r\nMessage-ID: <" + strings.Repeat("m", 40_000) + "@x>\r\n\r\n",
}

func TestKeys(t *testing.T) {
	for _, head := range heads {
		checkKeys(t, []byte(head))
	}
	for i := range 40 {
		text := mailgen.Message(i)
		checkKeys(t, bytes.ReplaceAll(text[:bytes.Index(text, []byte("\n\n"))+2], []byte("\n"), []byte("\r\n")))
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	for range 3000 {
		var b []byte
		for range rnd.IntN(6) {
			head := heads[2+rnd.IntN(5)]
			from := rnd.IntN(len(head))
			b = append(b, head[from:from+rnd.IntN(len(head)-from)]...)
		}
		checkKeys(t, b)
	}
}

func FuzzKeys(f *testing.F) {
	for _, head := range heads {
		f.Add([]byte(head))
		f.Add(Append(nil, []byte(head)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		checkKeys(t, b)
		var o Keys
		if o.Parse(b) { // any successful result can be used
			for range o.IDs() {
			}
		}
	})
}

// TestPieces: cut only accepts what was joined before.
func TestPieces(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 70_000} {
		piece := bytes.Repeat([]byte{'x'}, n)
		b := append(appendPiece(nil, piece), "rest"...)
		got, rest, ok := cutPiece(b)
		if !ok || !bytes.Equal(got, piece) || string(rest) != "rest" {
			t.Errorf("%d octets: %d, %q, %v", n, len(got), rest, ok)
		}
		if _, _, ok := cutPiece(b[:len(b)-len("rest")-1]); ok && n > 0 {
			t.Errorf("%d octets: a part of it is whole", n)
		}
	}
	for _, b := range [][]byte{nil, {0x80}, {0xff, 0xff, 0xff, 0xff, 0x01}, binary.AppendUvarint(nil, 1<<40)} {
		if _, _, ok := cutPiece(b); ok {
			t.Errorf("%x has a piece", b)
		}
	}
}

// TestAddressKeys: FROM, TO and CC are the addr-mailbox of the first address as in ENVELOPE
// (RFC 5256 section 3), which is the name of a group if a group comes first (RFC 3501 section
// 7.4.2). The display variants prefer a name (RFC 5957 section 3). All are compared without
// regard to case (RFC 5256 section 2.1: i;unicode-casemap). What ENVELOPE contains instead of a
// missing mailbox does not count as one.
func TestAddressKeys(t *testing.T) {
	for field, want := range map[string]struct{ mailbox, displayed string }{
		"":                                   {"", ""},
		"bob@example.org":                    {"BOB", "BOB@EXAMPLE.ORG"},
		"Zoe <a@example.org>, b@example.org": {"A", "ZOE"},
		`"first last"@example.org`:           {"FIRST LAST", "FIRST LAST@EXAMPLE.ORG"},
		"=?utf-8?Q?=C3=A4?= <x@example.org>": {"X", "Ä"},
		"o@example.org (Comment)":            {"O", "COMMENT"},
		"friends: z@example.org;":            {"FRIENDS", "FRIENDS"},
		"undisclosed-recipients:;":           {"UNDISCLOSED-RECIPIENTS", "UNDISCLOSED-RECIPIENTS"},
		"Name Only":                          {"", "NAME ONLY"},
		"<>":                                 {"", ""},
	} {
		var k Keys
		if !k.Parse(Append(nil, []byte("From: "+field+"\r\nTo: "+field+"\r\nCc: "+field+"\r\n\r\n"))) {
			t.Fatalf("%q cannot be read again", field)
		}
		for key, want := range map[Text]string{
			FromMailbox: want.mailbox, ToMailbox: want.mailbox, CCMailbox: want.mailbox,
			FromDisplayed: want.displayed, ToDisplayed: want.displayed,
		} {
			if want := string(casemap.Append(nil, []byte(want))); string(k.Texts[key]) != want {
				t.Errorf("%q: key %d is %q, want %q", field, key, k.Texts[key], want)
			}
		}
	}
}
