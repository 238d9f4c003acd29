package server

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/server/config"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

// TestNewRelay: the settings of a relay are those of the client, and "config check"
// tries it.
func TestNewRelay(t *testing.T) {
	if r, err := newRelay(&config.Config{}); r != nil || err != nil {
		t.Errorf("without one: %v, %v", r, err)
	}
	cert, _ := servertest.Certificate(t)
	roots, empty := filepath.Join(t.TempDir(), "roots"), filepath.Join(t.TempDir(), "empty")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	must(os.WriteFile(empty, []byte("no certificate"), 0o600))
	s := (&relaytest.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
	for _, c := range []struct {
		relay config.Relay
		want  string // of the error
	}{
		{config.Relay{Address: s.Address}, ""},
		{config.Relay{Address: s.Address, User: "u", Password: "p", CA: roots}, ""},
		{config.Relay{Address: s.Address, CA: empty}, "relay.ca: " + empty + " contains no PEM certificate"},
		{config.Relay{Address: s.Address, CA: empty + "x"}, "relay.ca: open "},
		{config.Relay{Address: s.Address, TLS: true}, "relay " + s.Address + ": TLS: "},
	} {
		err := checkRelay(&config.Config{Hostname: "mail.example.org", Relay: &c.relay})
		s.Idle() // the last words of each are in the list
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.relay, err, c.want)
		}
	}
	if said := strings.Join(s.Said(), "|"); !strings.HasPrefix(said, "EHLO mail.example.org|QUIT|EHLO mail.example.org|AUTH PLAIN AHUAcA==|QUIT|") {
		t.Error(said)
	}
	if got := relayPorts(&config.Relay{Address: "h.example:465"}); len(got) != 2 || got[0] != 465 || got[1] != 53 || relayPorts(nil) != nil {
		t.Errorf("ports %v", got)
	}
}
