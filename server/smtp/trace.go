package smtp

import (
	"crypto/tls"
	"strings"
	"time"
)

// trace returns the trace fields at the top of a copy of a message, with LF line ends
// (RFC 5321 section 4.4).
func (s *session) trace(received []byte, t target, now string) []byte {
	to, alias := t.address, t.alias
	if !s.from.utf8 {
		to, alias = withALabels(to), withALabels(alias)
	}
	b := make([]byte, 0, 128+2*len(to)+len(alias)+len(received)+len(now))
	b = append(b, "Return-Path: <"...)
	if !s.from.null {
		b = append(b, s.from.sender.String()...)
	}
	b = append(b, ">\n"...)
	if alias != "" { // the name is Postfix's; each copy has its own
		b = append(append(append(b, "X-Original-To: "...), alias...), '\n')
	}
	b = append(b, "Delivered-To: "...)
	b = append(b, to...)
	b = append(b, '\n')
	b = append(b, received...)
	b = append(b, "\n\tfor <"...)
	b = append(b, to...)
	b = append(b, ">; "...)
	b = append(b, now...)
	return append(b, '\n')
}

// withALabels returns an address for a header that must be ASCII because the message does not
// use SMTPUTF8 (RFC 6532).
func withALabels(address string) string {
	at := strings.LastIndexByte(address, '@') + 1
	if checkUTF8(address[at:], false) == nil {
		return address
	}
	domain := canonicalDomain(address[at:])
	if domain == "" {
		return address
	}
	return address[:at] + domain
}

// received returns the Received field without its "for" clause and date:
//
//	from client.example ([192.0.2.1])
//		(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)
//		by mail.example.org (maildird) with ESMTPS id 1a2b3c-1
func (s *session) received(id string) []byte {
	p := s.peer
	b := make([]byte, 0, 320)
	b = append(b, "Received: from "...)
	literal := ""
	if p.Addr.IsValid() {
		literal = "[" + p.Addr.String() + "]"
		if p.Addr.Is6() {
			literal = "[IPv6:" + literal[1:]
		}
	}
	switch {
	case validDomain(p.hello) && checkUTF8(p.hello, s.from.utf8) == nil:
		b = append(b, p.hello...)
	case literal != "":
		b = append(b, literal...)
	default:
		b = append(b, "localhost"...)
	}
	if literal != "" {
		b = append(append(append(b, " ("...), literal...), ')')
	} else {
		b = append(b, " (local socket)"...)
	}
	if p.tls != nil {
		b = append(b, "\n\t(using "...)
		b = append(b, tlsVersion(p.tls.Version)...)
		b = append(b, " with cipher "...)
		b = append(b, tls.CipherSuiteName(p.tls.CipherSuite)...)
		b = append(b, ')')
	}
	b = append(b, "\n\tby "...)
	b = append(b, s.srv.cfg.Hostname...)
	b = append(b, " (maildird) with "...)
	b = append(b, s.with()...)
	b = append(b, " id "...)
	return append(b, id...)
}

// with returns the name of the protocol (RFC 3848; UTF8*: RFC 6531 section 4.3).
func (s *session) with() string {
	name := "ESMTP"
	switch {
	case s.srv.kind == LMTP && s.from.utf8:
		name = "UTF8LMTP"
	case s.srv.kind == LMTP:
		name = "LMTP"
	case s.from.utf8:
		name = "UTF8SMTP"
	case !s.peer.esmtp:
		return "SMTP"
	}
	if s.peer.tls != nil {
		name += "S"
	}
	if s.user != nil {
		name += "A"
	}
	return name
}

// tlsVersion returns the name of a TLS version as other servers write it.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return tls.VersionName(v)
}

// date returns a date and time for a header field (RFC 5322 section 3.3).
func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }
