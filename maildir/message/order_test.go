package message

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"maildird/scripts/mailgen"
)

// orderOf computes the result of ParseOrder from everything that ParseEnvelope reads.
func orderOf(header []byte) *Order {
	e := ParseEnvelope(header)
	o := &Order{Date: e.Date, Subject: e.Subject, InReplyTo: e.InReplyTo, MessageID: e.MessageID}
	o.References, _ = Field(header, "References")
	for _, list := range []struct {
		first **Address
		all   []Address
	}{{&o.From, e.From}, {&o.To, e.To}, {&o.Cc, e.Cc}} {
		if len(list.all) > 0 {
			*list.first = &list.all[0]
		}
	}
	return o
}

func checkOrder(t *testing.T, header []byte) {
	t.Helper()
	if got, want := ParseOrder(header), orderOf(header); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\n%+v, want\n%+v", header, got, want)
	}
}

// TestParseOrder checks that an Order has the same contents as an Envelope: for sample
// mail, and for headers composed at random.
func TestParseOrder(t *testing.T) {
	for _, text := range samples(t) {
		checkOrder(t, inCRLF(text))
	}
	for i := range 30 {
		checkOrder(t, mailgen.Message(i))
	}
	pieces := []string{
		"Date", "date ", "Subject", "SUBJECT\t", "In-Reply-To", "Message-ID", "References", "From", "To", "Cc", "X", ":", ": ", ":\n ", "\r\n", "\n",
		" ", "\t", "\r", "\x00", "Mon, 3 Jun 2024 09:30:00 +0200", "Re: a", "<a@b>", "<c@d>", "A B <e@f>", "friends:", ";", ",", "(x", ")", "\"", "@", ".", "=?utf-8?q?=C3=A4?=", "\xff",
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		var header []byte
		for range rnd.IntN(40) {
			header = append(header, pieces[rnd.IntN(len(pieces))]...)
		}
		checkOrder(t, header)
	}
}

func FuzzParseOrder(f *testing.F) {
	for _, s := range []string{
		"From: ,;:a@b\r\nFrom: c@d\r\nTo: x: ;\r\nCc:\r\n (\r\nCc: e@f\r\n\r\n",
		"Date: x\r\ndate : y\r\nReferences:\r\n\t<a@b>\r\nReferences: <c@d>\r\nSubject:\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		if len(header) <= fuzzBytes {
			checkOrder(t, header)
		}
	})
}

func BenchmarkParseOrder(b *testing.B) {
	text := mailgen.Message(1)
	header, _, err := ReadHeader(nil, bytes.NewReader(text), int64(len(text)), 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("order", func(b *testing.B) {
		for b.Loop() {
			ParseOrder(header)
		}
	})
	b.Run("envelope", func(b *testing.B) {
		for b.Loop() {
			ParseEnvelope(header)
		}
	})
}
