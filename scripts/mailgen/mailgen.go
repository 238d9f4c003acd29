// Package mailgen generates mail as it is typical of mailboxes, the same in every run, for the
// benchmark and for tests.
//
// Of ten messages, five are plain text, two also have HTML, one has an attachment, and the
// others vary: other charsets, forwarded messages, invitations, delivery failure reports. All
// have Received and DKIM fields, like mail from the Internet. Line ends are LF.
package mailgen

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Epoch is when message 0 was sent.
var Epoch = time.Date(2024, time.January, 1, 8, 0, 0, 0, time.UTC)

// Date returns when message i was sent.
func Date(i int) time.Time { return Epoch.Add(time.Duration(i) * 7 * time.Minute) }

// Fill writes n messages to dir/cur with flags and dates, and returns their total size in
// octets. As with most programs, the file names contain no sizes.
func Fill(dir string, n int) (octets int64, err error) {
	cur := filepath.Join(dir, "cur")
	if err := os.MkdirAll(cur, 0o700); err != nil {
		return 0, err
	}
	for i := range n {
		text := Message(i)
		path := filepath.Join(cur, fmt.Sprintf("%d.M%dP1.mailgen%s", Date(i).Unix(), i%1_000_000, info(i)))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return 0, err
		}
		if err := os.Chtimes(path, Date(i), Date(i)); err != nil {
			return 0, err
		}
		octets += int64(len(text))
	}
	return octets, nil
}

func info(i int) string {
	switch {
	case i%10 == 0:
		return ":2,"
	case i%17 == 0:
		return ":2,FS"
	case i%5 == 0:
		return ":2,RS"
	}
	return ":2,S"
}

// Message returns message i.
func Message(i int) []byte {
	g := newGenerator(uint64(i))
	g.header(i)
	switch i % 10 {
	case 3, 6:
		g.alternative(i)
	case 8:
		g.attachment(i, 6_000+g.IntN(16_000))
	case 9:
		g.rare(i)
	default:
		g.buf.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
		g.lines(600 + g.IntN(5000))
	}
	return g.buf.Bytes()
}

// WithAttachment returns message i with an attachment of size bytes.
func WithAttachment(i, size int) []byte {
	g := newGenerator(uint64(i) + 1<<40)
	g.header(i)
	g.attachment(i, size)
	return g.buf.Bytes()
}

// Letter returns a plain message of about size octets with CRLF line ends, for delivery.
func Letter(i, size int) []byte {
	g := newGenerator(uint64(i) + 1<<32)
	fmt.Fprintf(&g.buf, "From: %s\nTo: alice@example.org\nSubject: letter %d\nDate: %s\nMessage-ID: <letter.%d@example.net>\nContent-Type: text/plain\n\n",
		g.person(), i, Epoch.Format(time.RFC1123Z), i)
	g.lines(size - g.buf.Len())
	return bytes.ReplaceAll(g.buf.Bytes(), []byte("\n"), []byte("\r\n"))
}

// generator generates the text of a message.
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
	foreign = strings.Fields("Grüße Straße Übersicht café naïve données Привет мир отчёт встреча 会議 資料 お願いします Ελλάδα ημέρα")
)

func (g *generator) word() string { return words[g.IntN(len(words))] }

func (g *generator) person() string {
	name := people[g.IntN(len(people))]
	return fmt.Sprintf("%s%s Miller <%s@%d.example.net>", strings.ToUpper(name[:1]), name[1:], name, g.IntN(40))
}

// lines writes text of about size octets.
func (g *generator) lines(size int) {
	for end := g.buf.Len() + size; g.buf.Len() < end; {
		for n := 0; n < 60; {
			w := g.word()
			g.buf.WriteString(w)
			g.buf.WriteByte(' ')
			n += len(w) + 1
		}
		g.buf.WriteByte('\n')
	}
}

func (g *generator) bytes(n int) []byte {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(g.Uint32())
	}
	return raw
}

func (g *generator) base64(n int) string { return base64.StdEncoding.EncodeToString(g.bytes(n)) }

// header writes all fields except those of the body's type.
func (g *generator) header(i int) {
	stamp := Date(i).Format(time.RFC1123Z)
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
}

func (g *generator) alternative(i int) {
	fmt.Fprintf(&g.buf, "Content-Type: multipart/alternative; boundary=\"alt_%d\"\n\n--alt_%d\nContent-Type: text/plain; charset=us-ascii\n\n", i, i)
	g.lines(500 + g.IntN(2000))
	fmt.Fprintf(&g.buf, "--alt_%d\nContent-Type: text/html; charset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n\n<html><body><p>\n", i)
	g.lines(1000 + g.IntN(6000))
	fmt.Fprintf(&g.buf, "</p></body></html>\n--alt_%d--\n", i)
}

// attachment writes text and a file of about size bytes.
func (g *generator) attachment(i, size int) {
	fmt.Fprintf(&g.buf, "Content-Type: multipart/mixed;\n boundary=\"mixed_%d\"\n\nThis is a multi-part message in MIME format.\n--mixed_%d\nContent-Type: text/plain; charset=utf-8; format=flowed\n\n", i, i)
	g.lines(400 + g.IntN(1000))
	fmt.Fprintf(&g.buf, "--mixed_%d\nContent-Type: application/pdf; name=\"report-%d.pdf\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"report-%d.pdf\"\n\n", i, i, i)
	for n := 0; n < size; n += 57 {
		g.buf.WriteString(g.base64(57))
		g.buf.WriteByte('\n')
	}
	fmt.Fprintf(&g.buf, "--mixed_%d--\n", i)
}

// rare writes one of the less frequent kinds of body.
func (g *generator) rare(i int) {
	switch i / 10 % 4 {
	case 0:
		g.otherCharset()
	case 1:
		inner := newGenerator(uint64(i) + 1<<33)
		inner.header(i + 1)
		inner.alternative(i + 1)
		fmt.Fprintf(&g.buf, "Content-Type: multipart/mixed; boundary=fwd_%d\n\n--fwd_%d\nContent-Type: text/plain\n\nFor your information.\n--fwd_%d\nContent-Type: message/rfc822\n\n%s\n--fwd_%d--\n",
			i, i, i, inner.buf.Bytes(), i)
	case 2:
		fmt.Fprintf(&g.buf, "Content-Type: multipart/alternative; boundary=cal_%d\n\n--cal_%d\nContent-Type: text/plain\n\n", i, i)
		g.lines(200)
		fmt.Fprintf(&g.buf, "--cal_%d\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:%d@example.net\nDTSTART:%s\nSUMMARY:%s %s\nEND:VEVENT\nEND:VCALENDAR\n--cal_%d--\n",
			i, i, Date(i).Format("20060102T150405Z"), g.word(), g.word(), i)
	default:
		fmt.Fprintf(&g.buf, "Content-Type: multipart/report; report-type=delivery-status; boundary=dsn_%d\n\n--dsn_%d\nContent-Type: text/plain\n\nIt could not be delivered.\n--dsn_%d\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; nobody@example.net\nAction: failed\nStatus: 5.1.1\n--dsn_%d--\n",
			i, i, i, i)
	}
}

// otherCharset writes non-ASCII text in base64 or quoted-printable.
func (g *generator) otherCharset() {
	var text strings.Builder
	for range 100 + g.IntN(200) {
		text.WriteString(foreign[g.IntN(len(foreign))])
		text.WriteByte(" \n"[g.IntN(12)/11])
	}
	if g.IntN(2) == 0 {
		g.buf.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n")
		w := quotedprintable.NewWriter(&g.buf)
		_, _ = w.Write([]byte(text.String()))
		_ = w.Close()
		g.buf.WriteByte('\n')
		lf := bytes.ReplaceAll(g.buf.Bytes(), []byte("\r\n"), []byte("\n"))
		g.buf = *bytes.NewBuffer(lf)
		return
	}
	g.buf.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n")
	for b := []byte(text.String()); len(b) > 0; b = b[min(57, len(b)):] {
		g.buf.WriteString(base64.StdEncoding.EncodeToString(b[:min(57, len(b))]))
		g.buf.WriteByte('\n')
	}
}
