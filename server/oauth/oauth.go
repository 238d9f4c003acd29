// Package oauth checks OAuth 2.0 access tokens: signed ones (JWT, RFC 9068) with the keys of
// the issuer, others by asking the issuer (introspection, RFC 7662).
package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // to which "EXP" is not "exp", and twice "exp" is an error

	"maildird/server/sasl"
)

// Config says which tokens are accepted. JWKS or Introspection must be set.
type Config struct {
	Issuer   string // the required "iss"
	Audience string // must be in "aud"; "" accepts every token that the issuer lets us introspect
	// JWKS is the location of the issuer's keys (RFC 7517): an https URL, on this host also an
	// http URL, or the path of a file.
	JWKS string
	// Introspection is the URL for introspection, as for JWKS, which is used with these client
	// credentials. If it is set, JWKS is ignored.
	Introspection          string
	ClientID, ClientSecret string
	// UsernameClaim is the name of the claim that contains the user's name here.
	UsernameClaim string
	Hint          sasl.Hint // Hint.Scope, if set, must be in the scope of the token

	Log    *slog.Logger
	Client *http.Client     // nil for one that does not follow redirects
	Now    func() time.Time // nil for time.Now
}

// ErrForNow means that the issuer reported a temporary failure. Nothing needs
// to be changed here.
var ErrForNow = errors.New("the issuer cannot answer for now")

const (
	// timeout is the maximum duration of a request to the issuer.
	timeout = 10 * time.Second
	// maxAnswer is the maximum size of the response, in octets.
	maxAnswer = 1 << 20
	// leeway is the tolerated difference between the issuer's clock and ours.
	leeway = time.Minute
	// maxToken is the maximum length of a token, in octets.
	maxToken = 16 << 10
)

// Verifier checks tokens. It is safe for concurrent use, and implements sasl.Tokens.
type Verifier struct {
	cfg  Config
	keys *keySet // nil for introspection
}

// New returns a Verifier, or an error for a URL that is not allowed. It makes no request before
// the first token must be checked.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	v := &Verifier{cfg: cfg}
	if cfg.Introspection != "" {
		return v, checkURL(cfg.Introspection)
	}
	v.keys = &keySet{v: v, busy: make(chan struct{}, 1)}
	v.keys.now.Store(new(fetched))
	if isURL(cfg.JWKS) {
		return v, checkURL(cfg.JWKS)
	}
	return v, nil
}

func isURL(where string) bool { return strings.Contains(where, "://") }

// checkURL refuses URLs that would send tokens or keys over the network unprotected: all except
// https, and http on this host.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("%q is not an https URL", text)
	}
	return nil
}

// Hint implements sasl.Tokens.
func (v *Verifier) Hint() sasl.Hint { return v.cfg.Hint }

// Holder implements sasl.Tokens.
func (v *Verifier) Holder(ctx context.Context, token string) (string, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("%w: it is too long", sasl.ErrToken)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	read := v.introspect
	if v.keys != nil {
		read = v.signed
	}
	text, err := read(ctx, token)
	if err != nil {
		return "", err
	}
	var c claims
	if err := json.Unmarshal(text, &c); err != nil {
		return "", fmt.Errorf("%w: %w", sasl.ErrToken, err)
	}
	if err := v.check(&c); err != nil {
		return "", fmt.Errorf("%w: %w", sasl.ErrToken, err)
	}
	name, err := v.username(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", sasl.ErrToken, err)
	}
	return name, nil
}

// claims are the claims of RFC 7519 section 4.1 that decide whether a token is valid, from a
// JWT or from the response of an introspection.
type claims struct {
	Issuer    string   `json:"iss"`
	Audience  audience `json:"aud"`
	Expires   *numDate `json:"exp"`
	NotBefore *numDate `json:"nbf"`
	Scope     scope    `json:"scope"`
}

// check checks the claims. Issuer, audience, expiry and a scope that is configured must be there,
// except for the issuer and the expiry in the response of an introspection, where they are
// optional and the issuer has checked them. The type of a JWT (RFC 9068 section 4) is not
// checked, because many issuers do not set it; the audience tells access tokens from others.
func (v *Verifier) check(c *claims) error {
	now, asked := v.cfg.Now(), v.keys == nil
	switch {
	case c.Issuer != v.cfg.Issuer && (c.Issuer != "" || !asked):
		return fmt.Errorf("its issuer is %.100q", c.Issuer)
	case !slices.Contains(c.Audience, v.cfg.Audience) && (v.cfg.Audience != "" || !asked):
		return fmt.Errorf("its audience is %.100q", []string(c.Audience))
	case c.Expires == nil && !asked:
		return errors.New("it never expires")
	case c.Expires != nil && !now.Before(c.Expires.Add(leeway)):
		return errors.New("it has expired")
	case c.NotBefore != nil && now.Before(c.NotBefore.Add(-leeway)):
		return errors.New("it is not valid yet")
	case v.cfg.Hint.Scope != "" && !slices.Contains(c.Scope, v.cfg.Hint.Scope):
		return fmt.Errorf("it lacks the scope %q", v.cfg.Hint.Scope)
	}
	return nil
}

// username returns the claim with the user's name. An e-mail address that the issuer has not
// verified is an error.
func (v *Verifier) username(text []byte) (string, error) {
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return "", err
	}
	name, ok := all[v.cfg.UsernameClaim].(string)
	if !ok || name == "" {
		return "", fmt.Errorf("it has no claim %q with a name", v.cfg.UsernameClaim)
	}
	if verified, told := all["email_verified"]; v.cfg.UsernameClaim == "email" && told && verified != true && verified != "true" { // some issuers send it as a string
		return "", errors.New("its e-mail address is not verified")
	}
	return name, nil
}

// audience is a string or a list of strings.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(b []byte) error {
	return textOrList(b, (*[]string)(a), func(one string) []string { return []string{one} })
}

// scope is a string of words (RFC 9068 section 2.2.3) or, with some issuers, a list.
type scope []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scope) UnmarshalJSON(b []byte) error {
	return textOrList(b, (*[]string)(s), strings.Fields)
}

// textOrList decodes a list, or a string, which split turns into a list.
func textOrList(b []byte, list *[]string, split func(string) []string) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*list = split(one)
		return nil
	}
	return json.Unmarshal(b, list)
}

// numDate is a NumericDate (RFC 7519 section 2).
type numDate struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (d *numDate) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1<<40 {
		return errors.New("a time is out of range")
	}
	d.Time = time.Unix(int64(seconds), 0)
	return nil
}

// ask sends a request and returns the body of the response.
func (v *Verifier) ask(req *http.Request) ([]byte, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := v.cfg.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch err := fmt.Errorf("%s %s: %s", req.Method, req.URL.Redacted(), resp.Status); {
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: %w", ErrForNow, err)
	case resp.StatusCode != http.StatusOK:
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("%s: answer is longer than %d octets", req.URL.Redacted(), maxAnswer)
	}
	return body, err
}

// introspect asks the issuer about a token (RFC 7662 section 2).
func (v *Verifier) introspect(ctx context.Context, token string) ([]byte, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.cfg.Introspection, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(v.cfg.ClientID), url.QueryEscape(v.cfg.ClientSecret))
	text, err := v.ask(req)
	if err != nil {
		return nil, fmt.Errorf("introspection: %w", err)
	}
	var answer struct {
		Active bool `json:"active"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("introspection: %w", err)
	}
	if !answer.Active {
		return nil, fmt.Errorf("%w: the issuer does not accept it", sasl.ErrToken)
	}
	return text, nil
}
