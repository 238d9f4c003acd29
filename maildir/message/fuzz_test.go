package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"unicode/utf8"
)

// addSamples adds the mails of testdata/mail to a fuzz target's seed corpus.
func addSamples(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
	}
}

// fuzzBytes limits the length of inputs: TestLimits covers what takes longer.
const fuzzBytes = 64 << 10

// FuzzParse checks that any bytes are a message, that its parts are inside the file, inside
// each other and in order, and that their offsets in both forms agree.
func FuzzParse(f *testing.F) {
	addSamples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > fuzzBytes {
			return
		}
		lim := limits{depth: 10, parts: 50, headerBytes: 2000, fieldBytes: 10_000}
		root, err := parseWithin(bytes.NewReader(data), int64(len(data)), lim)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkParts(data, root); err != nil {
			t.Fatal(err)
		}
		all := parts(root)
		if len(all) > lim.parts+1 || depth(root) > lim.depth+1 {
			t.Fatalf("%d parts, %d levels", len(all), depth(root))
		}
		// The numbers of all parts lead to them.
		var check func(p *Part, path []int)
		check = func(p *Part, path []int) {
			if len(path) > 0 {
				if got, ok := root.Find(path); !ok || got != p {
					t.Fatalf("part %v is not found", path)
				}
			}
			in := p
			if p.Message() && len(p.Children) == 1 && len(path) > 0 {
				in = p.Children[0]
			}
			if in.Multipart() {
				for i, child := range in.Children {
					check(child, append(path[:len(path):len(path)], i+1))
				}
			}
		}
		check(root, nil)
	})
}

// FuzzMultipart checks that the parts written by package mime/multipart are found,
// unchanged.
func FuzzMultipart(f *testing.F) {
	for _, s := range []string{"", "one", "one\x00two\r\n\x00\n\r", "a\n--\x00--other--\n\x00\r", "\x00\x00\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const boundary = "=_bound"
		if len(data) > fuzzBytes || bytes.Contains(data, []byte("--"+boundary)) {
			return
		}
		var file bytes.Buffer
		file.WriteString("Content-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n\r\n")
		w := multipart.NewWriter(&file)
		if err := w.SetBoundary(boundary); err != nil {
			t.Fatal(err)
		}
		bodies := bytes.Split(data, []byte{0})
		for i, body := range bodies {
			part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {fmt.Sprintf("text/x-%d", i)}})
			if err == nil {
				_, err = part.Write(body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		root := parse(t, file.Bytes())
		if len(root.Children) != len(bodies) {
			t.Fatalf("%d parts of %d", len(root.Children), len(bodies))
		}
		for i, p := range root.Children {
			if got := file.Bytes()[p.Body.Phys:p.End.Phys]; !bytes.Equal(got, bodies[i]) || p.Subtype != fmt.Sprintf("x-%d", i) {
				t.Fatalf("part %d is %q (%s), want %q", i, got, p.Subtype, bodies[i])
			}
		}
	})
}

// FuzzHeader checks that both ways to find the end of the header agree, and that the
// selected fields and the other fields together are the whole header.
func FuzzHeader(f *testing.F) {
	addSamples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > fuzzBytes {
			return
		}
		src := bytes.NewReader(data)
		header, body, err := ReadHeader(nil, src, int64(len(data)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if root := parse(t, data); root.Body != body {
			t.Fatalf("the body is at %v, parsed at %v", body, root.Body)
		}
		if want := withoutNUL(inCRLF(data[:body.Phys])); !bytes.Equal(header, want) {
			t.Fatalf("%q, want %q", header, want)
		}
		names := []string{"Subject", "from"}
		some, rest := NewFieldSet(names, false).Append(nil, header), NewFieldSet(names, true).Append(nil, header)
		blank := 0
		if bytes.HasSuffix(some, []byte("\r\n\r\n")) || string(some) == "\r\n" {
			blank = 2
		}
		if n := len(some) + len(rest) - blank; n < len(header) || n > len(header)+2 {
			t.Fatalf("%q and %q are not all of %q", some, rest, header)
		}
		cut, at, err := ReadHeader(nil, src, int64(len(data)), 50)
		if err != nil || at != body || len(cut) > 50 || !bytes.HasPrefix(header, cut) {
			t.Fatalf("cut to 50 octets: %q at %v, %v", cut, at, err)
		}
		e := ParseEnvelope(header)
		for _, s := range []string{e.Date, e.Subject, e.InReplyTo, e.MessageID} {
			if strings.Contains(s, "\n") {
				t.Fatalf("not unfolded: %q", s)
			}
		}
	})
}

// FuzzAddresses checks that each group that starts also ends, that no address lacks a
// mailbox or a host, and that an address written by package net/mail is parsed.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"A B <a@b>, c@d (E)", "G: a@b, \"c d\"@[1.2.3.4];", "<@x,@y:a@b>", "a . b @ c . d", "(((", "\"\\", "two words, <>,@,::;;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzBytes {
			return
		}
		open := false
		for _, a := range parseAddresses(nil, text) {
			switch {
			case a.Kind != Addr:
				if open == (a.Kind == GroupStart) {
					t.Fatal("groups do not end as they begin")
				}
				open = a.Kind == GroupStart
			case a.Mailbox == "" || a.Host == "":
				t.Fatalf("%+v", a)
			}
		}
		if open {
			t.Fatal("a group stays open")
		}
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return
		}
		want := Address{Name: text, Mailbox: text, Host: "example.org"}
		written := (&mail.Address{Name: text, Address: text + "@example.org"}).String()
		if got := parseAddresses(nil, written+", "+written); len(got) != 2 || got[0] != want || got[1] != want {
			t.Fatalf("%q is read as %+v", written, got)
		}
	})
}

// FuzzDecode checks that the size of a decoded part is the number of octets that can be
// read of it, that a piece is a slice of the whole, that a body does not grow except as its
// charset requires, and that what the standard library encodes is decoded.
func FuzzDecode(f *testing.F) {
	for i, s := range []string{"SGVs\nbG8=", "a=3Db=\nc = d \n=", "a\nb", "Gr\xfc\xdfe", "\x1b$BF|K\\\x1b(B"} {
		f.Add(uint8(i), "utf-8", []byte(s), int64(1), int64(2))
		f.Add(uint8(i), "iso-2022-jp", []byte(s), int64(0), int64(100))
	}
	f.Fuzz(func(t *testing.T, encoding uint8, charset string, body []byte, skip, limit int64) {
		if len(body) > fuzzBytes || skip < 0 {
			return
		}
		names := []string{"7bit", "base64", "quoted-printable", "8bit", ""}
		p := &Part{
			End: Pos{int64(len(body)), int64(len(inCRLF(body)))}, Encoding: names[int(encoding)%len(names)],
			Type: "text", Subtype: "plain", Params: []Param{{"charset", charset}},
		}
		src := bytes.NewReader(body)
		whole, err := readDecoded(src, p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := MeasureBinary(src, p)
		size, nul := b.Size, b.NUL
		if err != nil || size != int64(len(whole)) || nul != (bytes.IndexByte(whole, 0) >= 0) || size > p.End.Virt {
			t.Fatalf("size %d, NUL %v, %v; %d octets of %d", size, nul, err, len(whole), p.End.Virt)
		}
		want := whole[min(skip, size):]
		if limit >= 0 {
			want = want[:min(limit, int64(len(want)))]
		}
		var out bytes.Buffer
		if _, err := b.Copy(&out, src, p, skip, limit); err != nil || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("<%d.%d>: %d octets, want %d, %v", skip, limit, out.Len(), len(want), err)
		}
		if text, err := io.ReadAll(decodeText(src, p)); err == nil && len(text) > 8*len(whole)+64 {
			t.Fatalf("%d octets became %d", len(whole), len(text))
		}
		for name, encoded := range map[string][]byte{"base64": inBase64(body), "quoted-printable": inQP(body)} {
			p := &Part{End: Pos{int64(len(encoded)), int64(len(inCRLF(encoded)))}, Encoding: name}
			if got, err := readDecoded(bytes.NewReader(encoded), p); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%s: %q of %q, want %q (%v)", name, got, encoded, body, err)
			}
		}
	})
}

// inBase64 encodes body with lines of 76 octets.
func inBase64(body []byte) []byte {
	text := base64.StdEncoding.AppendEncode(nil, body)
	var out []byte
	for len(text) > 76 {
		out = append(append(out, text[:76]...), '\n')
		text = text[76:]
	}
	return append(append(out, text...), '\n')
}

func inQP(body []byte) []byte {
	var out bytes.Buffer
	w := quotedprintable.NewWriter(&out)
	w.Binary = true
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}

// FuzzWords checks that decoding encoded words changes nothing if there are none, does not
// enlarge a field, and returns what package mime encoded.
func FuzzWords(f *testing.F) {
	for _, s := range []string{
		"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße_ und\t=mehr als eine Zeile, was zwei Wörter werden, oder drei, da 75 Octets schnell voll sind", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= x =?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "=?x?q?a?= =?utf-8*de?q?b?=", "=?=?=?",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > fuzzBytes {
			return
		}
		text := DecodeHeader(raw)
		if len(text) > 8*len(raw)+64 {
			t.Fatalf("%d octets became %d", len(raw), len(text))
		}
		if !strings.Contains(raw, "=?") && text != raw {
			t.Fatalf("%q became %q", raw, text)
		}
		for _, encoder := range []mime.WordEncoder{mime.QEncoding, mime.BEncoding} {
			if word := encoder.Encode("utf-8", raw); utf8.ValidString(raw) && word != raw {
				if got := DecodeHeader(word); got != raw {
					t.Fatalf("%q is %q, decoded %q", raw, word, got)
				}
			}
		}
		ParseDate(raw)
	})
}
