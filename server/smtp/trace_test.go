package smtp

import (
	"net/netip"
	"strings"
	"testing"

	"maildird/server/accept"
)

// TestReceivedFrom: the Received field names the client as RFC 5321 section 4.4 has it, by what it
// says and by its address. What it says never adds a field or a comment.
func TestReceivedFrom(t *testing.T) {
	srv := New(MX, Config{Hostname: "mail.example.org"})
	for _, c := range []struct {
		addr, hello string
		utf8        bool
		want        string
	}{
		{"192.0.2.7", "client.example", false, "client.example ([192.0.2.7])"},
		{"2001:db8::7", "client.example", false, "client.example ([IPv6:2001:db8::7])"},
		{"2001:db8::7", "[IPv6:2001:db8::7]", false, "[IPv6:2001:db8::7] ([IPv6:2001:db8::7])"},
		{"2001:db8::7", "[2001:db8::7]", false, "[IPv6:2001:db8::7] ([IPv6:2001:db8::7])"},
		{"192.0.2.7", "client.example (x\r\nX: y", false, "[192.0.2.7] ([192.0.2.7])"},
		{"192.0.2.7", "ü.example", false, "[192.0.2.7] ([192.0.2.7])"},
		{"192.0.2.7", "ü.example", true, "ü.example ([192.0.2.7])"},
		{"", "client.example", false, "client.example (local socket)"},
		{"", "two words", false, "localhost (local socket)"},
		{"192.0.2.7", strings.Repeat(strings.Repeat("x", 62)+".", 4) + "x", false, strings.Repeat(strings.Repeat("x", 62)+".", 4) + "x ([192.0.2.7])"},
	} {
		p := &peer{hello: c.hello, esmtp: true}
		if c.addr != "" {
			p.Peer = accept.Peer{Addr: netip.MustParseAddr(c.addr)}
		}
		s := &session{srv: srv, peer: p, from: &envelope{utf8: c.utf8}}
		got, _, _ := strings.Cut(string(s.received("1-1")), "\n")
		if want := "Received: from " + c.want; got != want {
			t.Errorf("%s, %q: %q, want %q", c.addr, c.hello, got, want)
		}
	}
}
