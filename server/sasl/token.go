package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"
)

// Names of the mechanisms that take OAuth 2.0 access tokens.
const (
	OAuthBearer = "OAUTHBEARER" // RFC 7628
	XOAuth2     = "XOAUTH2"     // Google's, older, which many clients know alone
)

// Tokens checks access tokens. Safe for concurrent use.
type Tokens interface {
	// Holder returns the name that the holder of a token has here. The error is
	// ErrToken for a token that is not valid; others pass by themselves.
	Holder(ctx context.Context, token string) (string, error)
	// Hint is what a client is told that has no valid token.
	Hint() Hint
}

// Hint says how to get a token (RFC 7628 section 3.2.2). What is empty is not told.
type Hint struct {
	Scope         string
	Configuration string // https URL of the OpenID Provider Configuration
}

// NewTokenLogin begins a login by OAuthBearer or XOAuth2. They show the token to
// who reads along, so they are for TLS.
func NewTokenLogin(mechanism string, users Users, tokens Tokens, p Peer) sasl.Server {
	return &tokenLogin{mechanism: mechanism, users: users, tokens: tokens, peer: p}
}

// tokenLogin is one exchange of OAUTHBEARER or XOAUTH2.
type tokenLogin struct {
	mechanism string
	users     Users
	tokens    Tokens
	peer      Peer
	failed    error // what ends the exchange when the client has taken the reason
}

var errTokenForm = errors.New("not a response of this mechanism")

// Next implements go-sasl's Server.
func (x *tokenLogin) Next(response []byte) (challenge []byte, done bool, err error) {
	if x.failed != nil { // whatever the client says now (RFC 7628 section 3.2.3)
		return nil, true, x.failed
	}
	if response == nil {
		return []byte{}, false, nil // the client speaks first
	}
	form := bearerResponse
	if x.mechanism == XOAuth2 {
		form = xoauth2Response
	}
	name, token, ok := form(response)
	if !ok {
		return nil, true, errTokenForm
	}
	err = x.login(name, token)
	if err == nil {
		return nil, true, nil
	}
	x.failed = x.peer.Refused(x.mechanism, name, err)
	if !errors.Is(err, ErrToken) {
		return nil, true, x.failed
	}
	return x.reason(), false, nil
}

// login finds out who holds the token. A name that the client gave must be his.
func (x *tokenLogin) login(name, token string) error {
	p := &x.peer
	counted := name
	if counted == "" { // so that failures of one do not count for all
		counted = "token from " + p.From.String()
	}
	if err := x.users.Admit(p.From, counted); err != nil {
		return err
	}
	holder, err := x.tokens.Holder(p.Ctx, token)
	if errors.Is(err, ErrToken) {
		x.users.Failed(p.Ctx, p.From, counted)
	}
	if err != nil {
		return err
	}
	user, ok := x.users.Lookup(holder)
	if !ok {
		x.users.Failed(p.Ctx, p.From, counted)
		return ErrToken
	}
	if name != "" {
		if as, ok := x.users.Lookup(name); !ok || as.Name != user.Name {
			x.users.Failed(p.Ctx, p.From, counted)
			return ErrOther
		}
	}
	if err := x.users.Allowed(p.From, user.Name); err != nil {
		x.users.Failed(p.Ctx, p.From, counted)
		return err
	}
	x.users.Succeeded(p.From, counted)
	p.Login(user)
	return nil
}

// reason is what the client is told before the login fails.
func (x *tokenLogin) reason() []byte {
	hint := x.tokens.Hint()
	r := struct {
		Status        string `json:"status"`
		Schemes       string `json:"schemes,omitempty"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{"invalid_token", "", hint.Scope, hint.Configuration}
	if x.mechanism == XOAuth2 {
		r.Status, r.Schemes, r.Configuration = "401", "Bearer", ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		return []byte(`{"status":"invalid_token"}`)
	}
	return text
}

// bearerResponse takes the response of OAUTHBEARER apart (RFC 7628 section 3.1).
// Which names clients reach the server by is not known here, so host and port
// are not compared with anything.
func bearerResponse(response []byte) (name, token string, ok bool) {
	header, pairs, found := strings.Cut(string(response), "\x01")
	flag, rest, cut := strings.Cut(header, ",")
	authzid, end := strings.CutSuffix(rest, ",")
	if !found || !cut || !end || flag != "n" && flag != "y" {
		return "", "", false
	}
	if authzid != "" {
		text, isName := strings.CutPrefix(authzid, "a=")
		if name, ok = saslName(text); !isName || !ok {
			return "", "", false
		}
	}
	token, ok = authPair(pairs)
	return name, token, ok
}

// saslName decodes a name as GS2 headers have it (RFC 5801 section 4).
func saslName(text string) (string, bool) {
	name := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(text)
	return name, strings.Count(text, "=") == strings.Count(text, "=2C")+strings.Count(text, "=3D") && text != "" && !strings.Contains(text, ",")
}

// authPair finds the pair with the token among "key=value^A...^A". Other keys
// are passed over.
func authPair(pairs string) (token string, ok bool) {
	pairs, ended := strings.CutSuffix(pairs, "\x01\x01")
	if !ended {
		return "", false
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		key, value, isPair := strings.Cut(pair, "=")
		if !isPair {
			return "", false
		}
		if key != "auth" {
			continue
		}
		scheme, rest, _ := strings.Cut(value, " ")
		rest = strings.TrimLeft(rest, " ")
		if ok || !strings.EqualFold(scheme, "Bearer") || !isToken(rest) {
			return "", false
		}
		token, ok = rest, true
	}
	return token, ok
}

// isToken tells whether text is a b64token (RFC 6750 section 2.1).
func isToken(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && strings.IndexFunc(body, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._~+/", r)
	}) < 0
}

// xoauth2Response takes "user=name^Aauth=Bearer token^A^A" apart.
func xoauth2Response(response []byte) (name, token string, ok bool) {
	user, pairs, found := bytes.Cut(response, []byte{1})
	text, isUser := strings.CutPrefix(string(user), "user=")
	if !found || !isUser || text == "" {
		return "", "", false
	}
	token, ok = authPair(string(pairs))
	return text, token, ok
}
