package server

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/server/config"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

// TestNewRelay: the settings of the relay are passed to the client, and "config
// check" tries the relay.
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
		s.Idle() // the last commands of each connection are in the list
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

// TestMayPass: "config check", and with it "systemctl reload", does not fail because a relay or
// an OAuth issuer is down, but because the configuration does not suit it.
func TestMayPass(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	answering := func(what, answer string) string {
		return (&relaytest.Server{Offers: []string{"AUTH PLAIN"}, Answers: map[string]string{what: answer}}).Start(t).Address
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/503":
			http.Error(w, "down", http.StatusServiceUnavailable)
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/none":
			_, _ = w.Write([]byte(`{"keys":[]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	defer old.Close()
	keys := func(where string) error {
		return checkTokens(&config.OAuth{Issuer: "i", Audience: "a", JWKS: where}, slog.New(slog.DiscardHandler))
	}
	relay := func(address string) error {
		return checkRelay(&config.Config{Hostname: "mail.example.org", Relay: &config.Relay{Address: address, User: "u", Password: "p"}})
	}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"relay is stopped":        {relay(closed.Addr().String()), true},
		"relay is overloaded":     {relay(answering("greeting", "421 4.3.2 Too busy")), true},
		"relay cannot say hello":  {relay(answering("EHLO", "451 4.3.0 Later")), true},
		"relay hangs up":          {relay(answering("EHLO", relaytest.HangUp)), true},
		"relay's logins are down": {relay(answering("AUTH", "454 4.7.0 No backend")), true},
		"relay refuses us":        {relay(answering("greeting", "554 5.7.1 Go away")), false},
		"relay refuses the login": {relay(answering("AUTH", "535 5.7.8 Wrong")), false},
		"no name server":          {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, true},
		"nobody has the name":     {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, false},
		"issuer is stopped":       {keys("http://" + closed.Addr().String() + "/"), true},
		"issuer is down":          {keys(web.URL + "/503"), true},
		"issuer hangs up":         {keys(web.URL + "/cut"), true},
		"issuer's TLS is old":     {keys(old.URL), false},
		"issuer knows no URL":     {keys(web.URL + "/404"), false},
		"issuer has no keys":      {keys(web.URL + "/none"), false},
		"no file of keys":         {keys(filepath.Join(t.TempDir(), "none")), false},
	} {
		if c.err == nil || mayPass(c.err) != c.want {
			t.Errorf("%s: %v may pass is %v", name, c.err, !c.want)
		}
	}
}
