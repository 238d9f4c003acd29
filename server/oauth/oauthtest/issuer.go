// Package oauthtest provides an issuer of OAuth tokens on this host, for tests.
package oauthtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer signs tokens, and serves its keys at /jwks and introspection at /introspect. The
// client for introspection is "maildird" with the password "pass:word".
type Issuer struct {
	*httptest.Server
	t testing.TB

	mu   sync.Mutex
	id   string
	key  *ecdsa.PrivateKey
	asks int
	down bool
}

// New starts an issuer, which ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	i.Rotate("first")
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", i.jwks)
	mux.HandleFunc("/introspect", i.introspect)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// Rotate gives the issuer a new key.
func (i *Issuer) Rotate(id string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id, i.key = id, key
}

// SetDown sets whether the issuer only answers 503.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Asked returns the number of requests.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asks
}

// Keys returns the public keys as /jwks serves them.
func (i *Issuer) Keys() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.id, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		i.t.Error(err)
	}
	return text
}

// Claims returns the claims of a valid token for a user.
func (i *Issuer) Claims(email string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.URL, "aud": []string{"other", "mail"}, "sub": "1", "email": email, "scope": "openid mail",
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Token returns a token with claims, signed by the issuer.
func (i *Issuer) Token(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	key, id := i.key, i.id
	i.mu.Unlock()
	return i.Sign(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, claims)
}

// Sign returns a token with claims, signed with any key.
func (i *Issuer) Sign(key jose.SigningKey, claims map[string]any) string {
	i.t.Helper()
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// asked counts a request, and reports whether it is to be answered.
func (i *Issuer) asked(w http.ResponseWriter) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asks++
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
	}
	return !i.down
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	if i.asked(w) {
		_, _ = w.Write(i.Keys())
	}
}

// introspect accepts "active~" followed by a local part as a valid token.
func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	if !i.asked(w) {
		return
	}
	name, password, ok := r.BasicAuth()
	if !ok || name != "maildird" || password != "pass%3Aword" || r.Method != http.MethodPost {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	answer := map[string]any{"active": false}
	const prefix = "active~"
	if token := r.PostFormValue("token"); len(token) > len(prefix) && token[:len(prefix)] == prefix {
		answer = map[string]any{"active": true, "email": token[len(prefix):] + "@example.org", "aud": "mail"}
	}
	_ = json.NewEncoder(w).Encode(answer)
}
