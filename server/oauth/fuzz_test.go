package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"maildird/server/oauth/oauthtest"
	"maildird/server/sasl"
)

// answer is an issuer that gives the same answer to every request.
type answer []byte

func (a answer) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(a)), Header: http.Header{}, Request: req}, nil
}

// FuzzIntrospection uses arbitrary data as the answer of an issuer. Only a user named in an
// object that declares the token active may log in.
func FuzzIntrospection(f *testing.F) {
	for _, text := range []string{
		`{"active":true,"email":"alice@example.org","aud":"mail"}`, `{"active":true,"iss":"https://id.example","aud":["mail"],"exp":1700000100,"nbf":1.7e9,"scope":["a","mail"],"email":"b"}`,
		`{"active":"true","email":"b"}`, `{"active":true,"email":{},"aud":"mail"}`, `{"active":true,"exp":-1}`, `[{"active":true}]`, `null`, `{"active":true,"email":"a","email_verified":false,"aud":"mail"}`,
	} {
		f.Add([]byte(text))
	}
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, text []byte) {
		v := fuzzVerifier(t, Config{Issuer: "https://id.example", Audience: "mail", Introspection: "https://id.example/i"}, text, now)
		name, err := v.Holder(context.Background(), "token")
		if err != nil {
			if name != "" {
				t.Fatalf("%q beside %v", name, err)
			}
			return
		}
		var all map[string]any
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatalf("%q is let in: %v", name, err)
		}
		if all["email"] != name || name == "" || all["email_verified"] == false {
			t.Fatalf("%q is let in by %q", name, text)
		}
	})
}

// FuzzSigned tries arbitrary tokens with arbitrary keys. With the issuer's keys, only a token
// of the issuer may be accepted.
func FuzzSigned(f *testing.F) {
	issuer := oauthtest.New(f)
	keys, now := issuer.Keys(), time.Now()
	good := issuer.Token(issuer.Claims("alice@example.org"))
	f.Add(keys, good)
	f.Add(keys, good[1:])
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"},7]}`), "eyJhbGciOiJIUzI1NiJ9.e30.AA")
	f.Add([]byte(`{}`), "eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, set []byte, token string) {
		cfg := Config{Issuer: issuer.URL, Audience: "mail", JWKS: "https://id.example/jwks"}
		_, _ = fuzzVerifier(t, cfg, set, now).Holder(context.Background(), token)
		name, err := fuzzVerifier(t, cfg, keys, now).Holder(context.Background(), token)
		if err == nil && token != good || token == good && name != "alice@example.org" {
			t.Fatalf("%q is let in by %q, %v", name, token, err)
		}
	})
}

func fuzzVerifier(t *testing.T, cfg Config, says []byte, now time.Time) *Verifier {
	cfg.UsernameClaim, cfg.Hint = "email", sasl.Hint{}
	cfg.Client = &http.Client{Transport: answer(says)}
	cfg.Now = func() time.Time { return now }
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
