package message

import (
	"strings"
	"testing"
)

func BenchmarkFieldSet(b *testing.B) {
	const received = "Received: from relay.example.net (relay.example.net [192.0.2.7])\r\n\tby mail.example.org with ESMTP id 4711\r\n\tfor <alice@example.org>; Thu, 26 Nov 2026 10:00:00 +0000\r\n"
	header := []byte("Return-Path: <bob@example.net>\r\n" + strings.Repeat(received, 2) +
		"From: Bob <bob@example.net>\r\nTo: Alice <alice@example.org>\r\nSubject: Re: the notes of last week\r\n" +
		"Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Mailer: none\r\n\r\n")
	thunderbird := NewFieldSet(strings.Fields("From To Cc Bcc Subject Date Message-ID Priority X-Priority References "+
		"Newsgroups In-Reply-To Content-Type Reply-To Received"), false)
	var out []byte
	for b.Loop() {
		out = thunderbird.Append(out[:0], header)
	}
}
