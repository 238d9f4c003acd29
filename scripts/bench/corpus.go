package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"maildird/scripts/rig"
)

// epoch is when the oldest message of the corpus was sent.
var epoch = time.Date(2024, time.January, 1, 8, 0, 0, 0, time.UTC)

// generate writes n messages to dir/cur, the same ones in every run, and
// returns their octets. The names carry no sizes, as those of most programs.
func generate(dir string, n int) (octets int64, err error) {
	cur := filepath.Join(dir, "cur")
	if err := os.MkdirAll(cur, 0o700); err != nil {
		return 0, err
	}
	for i := range n {
		g := newGenerator(uint64(i))
		date := epoch.Add(time.Duration(i) * 7 * time.Minute)
		text := g.message(i, date)
		info := ":2,S"
		switch {
		case i%10 == 0:
			info = ":2,"
		case i%17 == 0:
			info = ":2,FS"
		case i%5 == 0:
			info = ":2,RS"
		}
		path := filepath.Join(cur, fmt.Sprintf("%d.M%dP1.bench%s", date.Unix(), i%1_000_000, info))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return 0, err
		}
		if err := os.Chtimes(path, date, date); err != nil {
			return 0, err
		}
		octets += int64(len(text))
	}
	return octets, rig.Own(dir)
}

// generator makes the text of one message from its number.
type generator struct {
	*rand.Rand
	buf bytes.Buffer
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0x6d61696c))}
}

var (
	people = strings.Fields("anna boris chen dana emil fatima george hanna ivan julia karl lena mihai nora otto petra")
	words  = strings.Fields(`the and report meeting please find attached budget for next week we should discuss
		plan with customer about invoice delivery project status update question regarding your last message
		schedule travel hotel team release version server problem answer thanks regards number date order`)
)

func (g *generator) word() string { return words[g.IntN(len(words))] }

func (g *generator) person() string {
	name := people[g.IntN(len(people))]
	return fmt.Sprintf("%s%s Miller <%s@%d.example.net>", strings.ToUpper(name[:1]), name[1:], name, g.IntN(40))
}

// lines writes text of about size octets.
func (g *generator) lines(size int) {
	for end := g.buf.Len() + size; g.buf.Len() < end; {
		n := 0
		for n < 60 {
			w := g.word()
			g.buf.WriteString(w)
			g.buf.WriteByte(' ')
			n += len(w) + 1
		}
		g.buf.WriteByte('\n')
	}
}

// message is a mail with LF line ends: plain text for the most part, some with
// HTML beside it, some with an attachment.
func (g *generator) message(i int, date time.Time) []byte {
	stamp := date.Format(time.RFC1123Z)
	fmt.Fprintf(&g.buf, "Return-Path: <bounce-%d@lists.example.net>\nDelivered-To: alice@example.org\n", i)
	for hop := range 2 + g.IntN(3) {
		fmt.Fprintf(&g.buf, "Received: from relay%d.example.net (relay%d.example.net [192.0.2.%d])\n\tby mx%d.example.org (Postfix) with ESMTPS id %010X\n\tfor <alice@example.org>; %s\n",
			hop, hop, g.IntN(250)+1, hop, g.Uint64N(1<<40), stamp)
	}
	fmt.Fprintf(&g.buf, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\n\th=from:to:subject:date; bh=%s;\n\tb=%s\n",
		g.base64(32), g.base64(64))
	fmt.Fprintf(&g.buf, "From: %s\nTo: %s\n", g.person(), g.person())
	if i%3 == 0 {
		fmt.Fprintf(&g.buf, "Cc: %s,\n %s\n", g.person(), g.person())
	}
	if i%8 == 0 {
		fmt.Fprintf(&g.buf, "Subject: =?utf-8?B?%s?=\n", base64.StdEncoding.EncodeToString([]byte("Grüße: "+g.word()+" "+g.word())))
	} else {
		fmt.Fprintf(&g.buf, "Subject: %s %s %s %d\n", g.word(), g.word(), g.word(), i)
	}
	fmt.Fprintf(&g.buf, "Date: %s\nMessage-ID: <%d.%08x@example.net>\nMIME-Version: 1.0\n", stamp, i, g.Uint32())
	if i%4 == 1 {
		fmt.Fprintf(&g.buf, "In-Reply-To: <%d.x@example.net>\nReferences: <%d.x@example.net>\n\t<%d.y@example.net>\n", i-1, i-2, i-1)
	}
	switch i % 10 {
	case 3, 6:
		g.alternative(i)
	case 8:
		g.attachment(i)
	default:
		g.buf.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
		g.lines(600 + g.IntN(5000))
	}
	return g.buf.Bytes()
}

func (g *generator) alternative(i int) {
	fmt.Fprintf(&g.buf, "Content-Type: multipart/alternative; boundary=\"alt_%d\"\n\n--alt_%d\nContent-Type: text/plain; charset=us-ascii\n\n", i, i)
	g.lines(500 + g.IntN(2000))
	fmt.Fprintf(&g.buf, "--alt_%d\nContent-Type: text/html; charset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n\n<html><body><p>\n", i)
	g.lines(1000 + g.IntN(6000))
	fmt.Fprintf(&g.buf, "</p></body></html>\n--alt_%d--\n", i)
}

func (g *generator) attachment(i int) {
	fmt.Fprintf(&g.buf, "Content-Type: multipart/mixed;\n boundary=\"mixed_%d\"\n\nThis is a multi-part message in MIME format.\n--mixed_%d\nContent-Type: text/plain; charset=utf-8; format=flowed\n\n", i, i)
	g.lines(400 + g.IntN(1000))
	fmt.Fprintf(&g.buf, "--mixed_%d\nContent-Type: application/pdf; name=\"report-%d.pdf\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"report-%d.pdf\"\n\n", i, i, i)
	for range 100 + g.IntN(300) {
		g.buf.WriteString(g.base64(57))
		g.buf.WriteByte('\n')
	}
	fmt.Fprintf(&g.buf, "--mixed_%d--\n", i)
}

func (g *generator) base64(n int) string {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(g.Uint32())
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// letter is a message of about size octets in CRLF form, for delivery.
func letter(i, size int) []byte {
	g := newGenerator(uint64(i) + 1<<32)
	fmt.Fprintf(&g.buf, "From: %s\nTo: alice@example.org\nSubject: letter %d\nDate: %s\nMessage-ID: <letter.%d@example.net>\nContent-Type: text/plain\n\n",
		g.person(), i, epoch.Format(time.RFC1123Z), i)
	g.lines(size - g.buf.Len())
	return bytes.ReplaceAll(g.buf.Bytes(), []byte("\n"), []byte("\r\n"))
}
