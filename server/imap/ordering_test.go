package imap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/message"
	"maildird/scripts/mailgen"
	"maildird/server/imap/casemap"
)

// plainOrdering is an ordering made of all of the header, as RFC 5256 tells it,
// and its identifiers as a list.
func plainOrdering(head []byte) (o ordering, ids []string) {
	e := message.ParseEnvelope(head)
	if t, ok := message.ParseDate(e.Date); ok {
		o.sent, o.dated = t.Unix(), true
	}
	base, reply := message.BaseSubject(e.Subject)
	o.reply = reply
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
		o.texts[i] = casemap.Append(nil, []byte(text))
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

// checkOrdering holds that what the cache would give back of a header is what the
// header says.
func checkOrdering(t *testing.T, head []byte) {
	t.Helper()
	raw := appendOrdering([]byte("before"), head)
	var got ordering
	if !got.parse(raw[len("before"):]) {
		t.Fatalf("%q: cannot be read again", head)
	}
	want, ids := plainOrdering(head)
	if got.dated != want.dated || got.dated && got.sent != want.sent || got.reply != want.reply {
		t.Fatalf("%q: %+v, want %+v", head, got, want)
	}
	for i := range want.texts {
		if w := want.texts[i]; !bytes.Equal(got.texts[i], w[:min(len(w), maxOrderText)]) {
			t.Fatalf("%q: text %d is %q, want %q", head, i, got.texts[i], w)
		}
	}
	m := threadMail(&sortee{reader: nil, ordering: &ordering{dated: true, ids: got.ids}})
	if all := slices.Insert(m.References, 0, m.ID); !slices.Equal(all, ids) {
		t.Fatalf("%q: identifiers %q, want %q", head, all, ids)
	}
}

// orderingHeads are headers that are no pleasure to read.
var orderingHeads = []string{
	"", "\r\n", "Date: \r\nSubject: Re: [x] \x00 fwd: [fwd: a]\r\nFrom: =?utf-8?q?=C3=A4?= <>, x@y\r\n\r\n",
	"Subject: a\r\nsubject : =?utf-8?B?w6Q=?=\r\n b (fwd)\r\nDate: 31 Dec 2016 23:59:60 -0130 (x)\r\nDate: 1 Jan 1000 00:00 Z\r\n\r\n",
	"From: friends: a@b, c@d;\r\nTo: ,,;\r\nTo: \"a\\\"b\" <@r:c@d>\r\nCc: (only a comment)\r\nCc: undisclosed:;\r\n\r\n",
	"References: <a@b><\"c d\"@e>\r\n\t<f@g\r\nReferences: <no@more>\r\nIn-Reply-To: <x@y> <z@y>\r\nMessage-ID: <\"q\\\"\"@r>\r\n\r\n",
	"In-Reply-To: your mail <x@y> <z@y>\r\nMessage-ID: none\r\n\r\n",
	"Subject: " + strings.Repeat("\xc3\xa4b", maxOrderText) + "\r\nFrom: " + strings.Repeat("x", 3*maxOrderText) + "@y\r\n\r\n",
	"References:" + strings.Repeat(" <a@b>", maxReferences+1) + "\r\nMessage-ID: <" + strings.Repeat("m", 40_000) + "@x>\r\n\r\n",
}

func TestOrdering(t *testing.T) {
	for _, head := range orderingHeads {
		checkOrdering(t, []byte(head))
	}
	for i := range 40 {
		text := mailgen.Message(i)
		checkOrdering(t, bytes.ReplaceAll(text[:bytes.Index(text, []byte("\n\n"))+2], []byte("\n"), []byte("\r\n")))
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	for range 3000 {
		var b []byte
		for range rnd.IntN(6) {
			head := orderingHeads[2+rnd.IntN(5)]
			from := rnd.IntN(len(head))
			b = append(b, head[from:from+rnd.IntN(len(head)-from)]...)
		}
		checkOrdering(t, b)
	}
}

func FuzzOrdering(f *testing.F) {
	for _, head := range orderingHeads {
		f.Add([]byte(head))
		f.Add(appendOrdering(nil, []byte(head)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		checkOrdering(t, b)
		var o ordering
		if o.parse(b) { // whatever it is, it can be used
			threadMail(&sortee{ordering: &ordering{dated: true, ids: o.ids}})
		}
	})
}

// TestPlaces holds that places are in the order of the criteria, compared one after
// the other as they are.
func TestPlaces(t *testing.T) {
	criteria := sortCriteria()
	number := &sortCriterion{number: func(m *sortee) int64 { return m.ordering.sent }}
	rnd := rand.New(rand.NewPCG(13, 14))
	text := func() []byte {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = "\x00\x00\x01a\xfe\xff"[rnd.IntN(6)]
		}
		return b
	}
	for range 300 {
		keys := []sortKey{
			{criteria["SUBJECT"], rnd.IntN(2) == 0}, {number, rnd.IntN(2) == 0}, {criteria["FROM"], rnd.IntN(2) == 0},
		}
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		keys = keys[:1+rnd.IntN(len(keys))]
		var maker placeMaker
		all := make([]ordering, 20)
		places := make([]place, len(all))
		for i := range all {
			all[i].sent = []int64{-1 << 63, -1, 0, 1, 255, 256, 1<<63 - 1}[rnd.IntN(7)]
			all[i].texts[baseSubject], all[i].texts[fromMailbox] = text(), text()
			places[i] = maker.place(&sortee{ordering: &all[i]}, keys)
		}
		for i := range all {
			for j := range all {
				want := 0
				for _, k := range keys {
					c := bytes.Compare(all[i].texts[k.by.text], all[j].texts[k.by.text])
					if k.by.number != nil {
						c = cmp.Compare(all[i].sent, all[j].sent)
					}
					if k.reverse {
						c = -c
					}
					want = cmp.Or(want, c)
				}
				if got := places[i].compare(&places[j]); got != want {
					t.Fatalf("%+v and %+v by %v: %d, want %d", all[i], all[j], keys, got, want)
				}
			}
		}
	}
}

// TestPieces cuts what was put together, and nothing else.
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

// TestSortOfChangedFile: what is known of a message that was changed in its place
// is not used once its file was opened.
func TestSortOfChangedFile(t *testing.T) {
	ts := startServerOn(t, t.TempDir(), t.TempDir())
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	put := func(i int, text string, at time.Time) {
		path := filepath.Join(ts.root("alice"), "cur", fmt.Sprintf("%d.M1P1.h:2,S", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put(1, "Subject: a\n\n", mailgen.Date(1))
	put(2, "Subject: b\n\n", mailgen.Date(2))
	c := ts.login()
	c.ok("SELECT INBOX")
	order := func(want string) {
		t.Helper()
		for range 2 {
			if got := c.ok("SORT (SUBJECT) UTF-8 ALL")[0]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	order("* SORT 1 2")
	put(1, "Subject: c\n\n", mailgen.Date(3))
	c.ok("FETCH 1 BODY.PEEK[]")
	order("* SORT 2 1")
}
