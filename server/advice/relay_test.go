package advice

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"maildird/server/relay"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

// TestRelay: a problem that prevents the use of a relay is reported in helpful words,
// also by "config check".
func TestRelay(t *testing.T) {
	cert, _ := servertest.Certificate(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	secured := &tls.Config{Certificates: []tls.Certificate{cert}}
	for name, c := range map[string]struct {
		server *relaytest.Server
		cfg    relay.Config
		want   string
	}{
		"login":    {&relaytest.Server{Offers: []string{"AUTH PLAIN"}, Answers: map[string]string{"AUTH": "535 5.7.8 No"}}, relay.Config{User: "u", Password: "p"}, "correct relay.user"},
		"no login": {&relaytest.Server{}, relay.Config{User: "u", Password: "p"}, "correct relay.user"},
		"itself":   {&relaytest.Server{}, relay.Config{Greeting: "relay.example ESMTP"}, "set relay.server to another server"},
		"no TLS":   {&relaytest.Server{}, relay.Config{TLS: true}, "use smtp:// in relay.server"},
		"greeting": {&relaytest.Server{Answers: map[string]string{"greeting": "554 No"}}, relay.Config{}, "make sure that the relay is running"},
		"refused":  {nil, relay.Config{Address: closed.Addr().String()}, "has the right port"},
		"no name":  {nil, relay.Config{Address: "mail.invalid:465"}, "correct the host"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.server != nil {
				c.server.TLS = secured
				c.cfg.Address = c.server.Start(t).Address
			}
			r, err := relay.New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Check(context.Background())
			if err == nil || !strings.Contains(about(err), c.want) {
				t.Errorf("%v: advice %q, want %q", err, about(err), c.want)
			} else if text := Error(err).Error(); text != err.Error()+"; "+about(err) {
				t.Error(text)
			}
		})
	}
}
