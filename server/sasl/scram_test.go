package sasl

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"maildird/auth"
)

// tlsPair returns the states of both ends of a TLS connection.
func tlsPair(t *testing.T) (client, server *tls.ConnectionState) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	near, far := net.Pipe()
	s := tls.Server(far, &tls.Config{Certificates: web.TLS.Certificates})
	c := tls.Client(near, &tls.Config{InsecureSkipVerify: true}) // only the exporter matters here
	ended := make(chan error, 1)
	go func() { ended <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	cs, ss := c.ConnectionState(), s.ConnectionState()
	near.Close()
	return &cs, &ss
}

func TestSCRAM(t *testing.T) {
	clientTLS, serverTLS := tlsPair(t)
	_, otherTLS := tlsPair(t)
	maker, err := scram.SHA256.NewClient("", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := maker.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	binding := func() scram.ChannelBinding {
		b, err := scram.NewTLSExporterBinding(clientTLS)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type conv = *scram.ClientConversation
	plain := func(c *scram.Client) conv { return c.NewConversation() }
	could := func(c *scram.Client) conv { return c.NewConversationAdvertisingChannelBinding() }
	bound := func(c *scram.Client) conv { return c.NewConversationWithChannelBinding(binding()) }
	for _, test := range []struct {
		what     string
		state    *tls.ConnectionState
		plus     bool
		client   func(*scram.Client) conv
		password string
		proved   bool
		proof    bool // whether the proof is wrong
	}{
		{what: "without TLS", client: plain, password: "secret", proved: true},
		{what: "wrong password", client: plain, password: "Secret", proof: true},
		{what: "client could bind, and there is nothing to bind to", client: could, password: "secret", proved: true},
		{what: "client believes that we cannot bind, but we can", state: serverTLS, client: could, password: "secret", proof: true},
		{what: "over TLS without binding", state: serverTLS, client: plain, password: "secret", proved: true},
		{what: "bound", state: serverTLS, plus: true, client: bound, password: "secret", proved: true},
		{what: "bound to another connection", state: otherTLS, plus: true, client: bound, password: "secret", proof: true},
		{what: "PLUS without binding", state: serverTLS, plus: true, client: plain, password: "secret"},
		{what: "binding without PLUS", state: serverTLS, client: bound, password: "secret"},
	} {
		t.Run(test.what, func(t *testing.T) {
			client, err := scram.SHA256.NewClient("alice", test.password, "")
			if err != nil {
				t.Fatal(err)
			}
			x := newSCRAM(func(string) scram.StoredCredentials { return keys }, test.state, test.plus)
			if challenge, done, err := x.Next(nil); len(challenge) > 0 || done || err != nil {
				t.Fatal("the client is to speak first", err)
			}
			c := test.client(client)
			message, err := c.Step("")
			if err != nil {
				t.Fatal(err)
			}
			for {
				challenge, done, err := x.Next([]byte(message))
				if err != nil {
					if test.proved || errors.Is(err, ErrProof) != test.proof {
						t.Fatal(err)
					}
					return
				}
				message, err = c.Step(string(challenge))
				if done {
					if err != nil || !c.Valid() || !test.proved || x.Name() != "alice" {
						t.Fatalf("done: %v, client satisfied: %v, name %q", err, c.Valid(), x.Name())
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// FuzzSCRAM checks that nobody can log in without the password, and that a user cannot log in
// as another one. "$r" in the last message is the nonce of the server.
func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL", "c=biws,r=$r,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "alice", "")
	f.Add("p=tls-exporter,,n=alice,r=1", "", "bob", "alice")
	f.Add("y,a=bob,n=a=2Cb,r=1", "c=,r=$r,p=", "a=,b", "A=,B")
	f.Add("n,a=alice,n=alice,r=1", "c=bixhPWFsaWNlLA==,r=$r,p=", "alice", "ALICE")
	client, err := scram.SHA256.NewClient("", "secret", "")
	if err != nil {
		f.Fatal(err)
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "s", Iters: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, final, name, identity string) {
		x := newSCRAM(func(string) scram.StoredCredentials { return keys }, nil, false)
		challenge, done, err := x.Next([]byte(first))
		if err == nil && !done {
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(challenge), "r="), ",")
			_, done, err = x.Next([]byte(strings.ReplaceAll(final, "$r", nonce)))
		}
		if !done || err == nil {
			t.Fatalf("without the password: %v, %v", done, err)
		}

		client, err := scram.SHA256.NewClient(name, "secret", identity)
		if err != nil || name == "" {
			return // not possible as a name in SCRAM
		}
		c := client.WithMinIterations(1).NewConversation()
		x = newSCRAM(func(string) scram.StoredCredentials { return keys }, nil, false)
		message, err := c.Step("")
		for err == nil {
			challenge, done, err = x.Next([]byte(message))
			if err != nil || done {
				break
			}
			message, err = c.Step(string(challenge))
		}
		in := err == nil && done && actsAsSelf(x.Identity(), x.Name(), auth.User{})
		if own := identity == "" || strings.EqualFold(identity, x.Name()); in != own {
			t.Fatalf("%q with the password for %q, known as %q: %v, %v", name, identity, x.Name(), in, err)
		}
	})
}
