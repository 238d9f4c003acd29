package oauth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"maildird/server/oauth/oauthtest"
	"maildird/server/sasl"
)

func verifier(t *testing.T, cfg Config) *Verifier {
	t.Helper()
	if cfg.UsernameClaim == "" {
		cfg.UsernameClaim = "email"
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSigned checks the requirements for each part of a token.
func TestSigned(t *testing.T) {
	issuer := oauthtest.New(t)
	now := time.Now() // the clock stands still: the tokens are made first, and then tried
	v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: issuer.URL + "/jwks", Hint: sasl.Hint{Scope: "mail"}, Now: func() time.Time { return now }})
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key string, value any, more ...any) map[string]any {
		c := issuer.Claims("alice@example.org")
		if c[key] = value; value == nil {
			delete(c, key)
		}
		if len(more) > 0 {
			c[more[0].(string)] = more[1]
		}
		return c
	}
	good := issuer.Token(issuer.Claims("alice@example.org"))
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(good, ".")[1] + "."
	parts := strings.Split(good, ".")
	other := issuer.Token(issuer.Claims("bob@example.org"))
	for name, c := range map[string]struct {
		token string
		ok    bool
	}{
		"good":                 {good, true},
		"one audience":         {issuer.Token(with("aud", "mail")), true},
		"scopes as a list":     {issuer.Token(with("scope", []string{"mail"})), true},
		"just expired":         {issuer.Token(with("exp", now.Add(-30*time.Second).Unix())), true},
		"expired":              {issuer.Token(with("exp", now.Add(-2*time.Minute).Unix())), false},
		"never expires":        {issuer.Token(with("exp", nil)), false},
		"no time":              {issuer.Token(with("exp", "tomorrow")), false},
		"not valid yet":        {issuer.Token(with("nbf", now.Add(5*time.Minute).Unix())), false},
		"other issuer":         {issuer.Token(with("iss", "https://evil.example")), false},
		"no issuer":            {issuer.Token(with("iss", nil)), false},
		"other audience":       {issuer.Token(with("aud", []string{"calendar"})), false},
		"no audience":          {issuer.Token(with("aud", nil)), false},
		"other scope":          {issuer.Token(with("scope", "openid mailing")), false},
		"no user":              {issuer.Token(with("email", nil)), false},
		"user is a number":     {issuer.Token(with("email", 7)), false},
		"address not verified": {issuer.Token(with("email_verified", false)), false},
		"not verified, text":   {issuer.Token(with("email_verified", "false")), false},
		"verified, text":       {issuer.Token(with("email_verified", "true")), true},
		"verified, number":     {issuer.Token(with("email_verified", 0)), false},
		"expired, other case":  {issuer.Token(with("exp", now.Add(-2*time.Minute).Unix(), "Exp", now.Add(time.Hour).Unix())), false},
		"audience, other case": {issuer.Token(with("aud", "calendar", "AUD", "mail")), false},
		"alg none":             {unsigned, false},
		"shared key":           {issuer.Sign(jose.SigningKey{Algorithm: jose.HS256, Key: bytes.Repeat([]byte("k"), 32)}, issuer.Claims("alice@example.org")), false},
		"public key as secret": {issuer.Sign(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: issuer.Keys(), KeyID: "first"}}, issuer.Claims("alice@example.org")), false},
		"other's key":          {issuer.Sign(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: stranger, KeyID: "first"}}, issuer.Claims("alice@example.org")), false},
		"other's claims":       {parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2], false},
		"nonsense":             {"a.b.c", false},
		"opaque":               {"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", false},
		"too long":             {good + strings.Repeat("x", maxToken), false},
	} {
		t.Run(name, func(t *testing.T) {
			holder, err := v.Holder(t.Context(), c.token)
			switch {
			case c.ok && (err != nil || holder != "alice@example.org"):
				t.Errorf("got %q, %v", holder, err)
			case !c.ok && !errors.Is(err, sasl.ErrToken):
				t.Errorf("got %q, %v; want ErrToken", holder, err)
			}
		})
	}
	if n := issuer.Asked(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

// TestKeyRotation: a new key is found, but nobody can make the server fetch keys all the time.
// While the issuer is down, the known keys remain in use.
func TestKeyRotation(t *testing.T) {
	issuer := oauthtest.New(t)
	now := time.Now()
	v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: issuer.URL + "/jwks", Now: func() time.Time { return now }})
	check := func(token string, want error) {
		t.Helper()
		if _, err := v.Holder(context.Background(), token); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	issuer.SetDown(true)
	if _, err := v.Holder(t.Context(), issuer.Token(issuer.Claims("a"))); err == nil || errors.Is(err, sasl.ErrToken) {
		t.Errorf("without keys: %v", err)
	}
	issuer.SetDown(false)
	now = now.Add(keysAgain)
	check(issuer.Token(issuer.Claims("a")), nil)
	issuer.Rotate("second")
	for range 5 {
		check(issuer.Token(issuer.Claims("a")), sasl.ErrToken)
	}
	if n := issuer.Asked(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	now = now.Add(keysAgain)
	check(issuer.Token(issuer.Claims("a")), nil)
	issuer.SetDown(true)
	now = now.Add(keysFor)
	claims := issuer.Claims("a")
	claims["exp"] = now.Add(48 * time.Hour).Unix()
	token := issuer.Token(claims)
	check(token, nil)
	now = now.Add(keysLast)
	if _, err := v.Holder(t.Context(), token); err == nil || errors.Is(err, sasl.ErrToken) {
		t.Errorf("with keys that are too old: %v", err)
	}
}

// TestSlowIssuer: while keys are being fetched from an issuer that does not answer, for a token
// with an unknown key or because they are old, tokens with known keys are accepted.
func TestSlowIssuer(t *testing.T) {
	issuer := oauthtest.New(t)
	keys := issuer.Keys()
	asked, answer := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = w.Write(keys)
	}))
	defer web.Close()
	var late atomic.Int64
	began := time.Now()
	v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: web.URL, Now: func() time.Time { return began.Add(time.Duration(late.Load())) }})
	holder := func(token string) (result chan error) {
		result = make(chan error, 1)
		go func() {
			_, err := v.Holder(t.Context(), token)
			result <- err
		}()
		return result
	}
	claims := issuer.Claims("alice@example.org")
	claims["exp"] = began.Add(2 * keysFor).Unix()
	known := issuer.Token(claims)
	issuer.Rotate("second")
	unknown := issuer.Token(claims)
	first := holder(known)
	<-asked
	answer <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why   string
		after time.Duration
		token string
	}{
		{"a token with an unknown key", keysAgain, unknown},
		{"keys that are old", keysAgain + keysFor, known},
	} {
		late.Store(int64(c.after))
		fetching := holder(c.token)
		<-asked
		if _, err := v.Holder(t.Context(), known); err != nil {
			t.Errorf("while keys are fetched for %s: %v", c.why, err)
		}
		answer <- struct{}{}
		<-fetching
	}
}

// TestKeysFromFile also ignores keys of unknown types.
func TestKeysFromFile(t *testing.T) {
	issuer := oauthtest.New(t)
	text := bytes.Replace(issuer.Keys(), []byte(`"keys":[`), []byte(`"keys":[{"kty":"future"},{"kty":"oct","k":"AAAA"},`), 1)
	v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: keysFile(t, text)})
	if holder, err := v.Holder(t.Context(), issuer.Token(issuer.Claims("alice@example.org"))); err != nil || holder != "alice@example.org" {
		t.Errorf("%q, %v", holder, err)
	}
}

// TestOnlyKeysForSignatures: a key that the issuer uses for another purpose is not accepted for
// tokens, nor is one whose private part is public.
func TestOnlyKeysForSignatures(t *testing.T) {
	issuer := oauthtest.New(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := issuer.Sign(jose.SigningKey{Algorithm: jose.ES256, Key: private}, issuer.Claims("alice@example.org"))
	for name, c := range map[string]struct {
		key jose.JSONWebKey
		ok  bool
	}{
		"for anything":          {jose.JSONWebKey{Key: private.Public()}, true},
		"for signatures":        {jose.JSONWebKey{Key: private.Public(), Use: "sig", Algorithm: "ES256"}, true},
		"for encryption":        {jose.JSONWebKey{Key: private.Public(), Use: "enc"}, false},
		"for another algorithm": {jose.JSONWebKey{Key: private.Public(), Algorithm: "ES384"}, false},
		"private":               {jose.JSONWebKey{Key: private}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.key.KeyID = "one"
			text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{c.key}})
			if err != nil {
				t.Fatal(err)
			}
			holder, err := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: keysFile(t, text)}).Holder(t.Context(), token)
			switch {
			case c.ok && (err != nil || holder != "alice@example.org"):
				t.Errorf("got %q, %v", holder, err)
			case !c.ok && !errors.Is(err, sasl.ErrToken):
				t.Errorf("got %q, %v; want ErrToken", holder, err)
			}
		})
	}
}

// TestNoKeys: a file without keys is a problem of the operator, not of the token.
func TestNoKeys(t *testing.T) {
	issuer := oauthtest.New(t)
	for _, text := range []string{"", "{", `{"keys":[]}`, `{"keys":[{"kty":"future"}]}`} {
		v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: keysFile(t, []byte(text))})
		if _, err := v.Holder(t.Context(), issuer.Token(issuer.Claims("alice@example.org"))); err == nil || errors.Is(err, sasl.ErrToken) {
			t.Errorf("%q: %v", text, err)
		}
		if err := v.CheckKeys(t.Context()); err == nil {
			t.Errorf("%q: CheckKeys finds nothing wrong", text)
		}
	}
	for _, cfg := range []Config{{JWKS: issuer.URL + "/jwks"}, {Introspection: issuer.URL + "/none"}} {
		if err := verifier(t, cfg).CheckKeys(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func keysFile(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIntrospection(t *testing.T) {
	issuer := oauthtest.New(t)
	cfg := Config{Issuer: issuer.URL, Audience: "mail", Introspection: issuer.URL + "/introspect", ClientID: "maildird", ClientSecret: "pass:word"}
	v := verifier(t, cfg)
	if holder, err := v.Holder(t.Context(), "active~alice"); err != nil || holder != "alice@example.org" {
		t.Errorf("%q, %v", holder, err)
	}
	if _, err := v.Holder(t.Context(), "revoked"); !errors.Is(err, sasl.ErrToken) {
		t.Error(err)
	}
	cfg.Audience = "calendar"
	if _, err := verifier(t, cfg).Holder(t.Context(), "active~alice"); !errors.Is(err, sasl.ErrToken) {
		t.Error(err)
	}
	cfg.ClientSecret = "wrong"
	if _, err := verifier(t, cfg).Holder(t.Context(), "active~alice"); err == nil || errors.Is(err, sasl.ErrToken) {
		t.Errorf("wrong credentials: %v", err)
	}
}

// TestHostileIssuer: the issuer sends endless answers, redirects, or nothing.
func TestHostileIssuer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
				return
			}
		}
	})
	mux.Handle("/elsewhere", http.RedirectHandler("/endless", http.StatusFound))
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	web := httptest.NewServer(mux)
	defer web.Close()
	issuer := oauthtest.New(t)
	token := issuer.Token(issuer.Claims("alice@example.org"))
	for _, path := range []string{"/endless", "/elsewhere", "/silent"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		v := verifier(t, Config{Issuer: issuer.URL, Audience: "mail", JWKS: web.URL + path})
		if _, err := v.Holder(ctx, token); err == nil || errors.Is(err, sasl.ErrToken) {
			t.Errorf("%s: %v", path, err)
		}
		cancel()
	}
}

func TestCheckURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://id.example.org/jwks": true, "http://127.0.0.1:8080/x": true, "http://localhost/x": true, "http://[::1]/x": true,
		"http://id.example.org/jwks": false, "https://user:pass@id.example.org/": false, "ftp://127.0.0.1/": false, "https:///x": false,
	} {
		if err := checkURL(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
