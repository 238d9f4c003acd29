package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
)

// Names of the mechanisms with OAuth 2.0 access tokens.
const (
	oauthBearer = "OAUTHBEARER" // RFC 7628
	xoauth2     = "XOAUTH2"     // older, from Google; all that many clients support
)

// Tokens checks access tokens. It must be safe for concurrent use.
type Tokens interface {
	// Holder returns the name of a token's holder on this server. The error is ErrToken if the
	// token is not valid; other errors are temporary.
	Holder(ctx context.Context, token string) (string, error)
	// Hint returns what clients without a valid token are told.
	Hint() Hint
}

// Hint says how to get a token (RFC 7628 section 3.2.2). Empty fields are omitted.
type Hint struct {
	Scope         string
	Configuration string // https URL of the OpenID Provider Configuration
}

// tokenMechanism is OAUTHBEARER or XOAUTH2.
func tokenMechanism(name string) mechanism {
	return mechanism{
		name: name, plaintext: true,
		possible: func(l *Logins, _ *tls.ConnectionState) bool { return l.Users != nil && l.Tokens != nil },
		begin: func(l *Logins, p Peer) sasl.Server {
			return &tokenLogin{mechanism: name, users: l.Users, tokens: l.Tokens, peer: p}
		},
	}
}

// tokenLogin is an exchange of OAUTHBEARER or XOAUTH2.
type tokenLogin struct {
	mechanism string
	users     Users
	tokens    Tokens
	peer      Peer
	failed    error // the error to return once the client has acknowledged the reason
}

var errTokenForm = errors.New("not a response of this mechanism")

// Next implements go-sasl's Server.
func (x *tokenLogin) Next(response []byte) (challenge []byte, done bool, err error) {
	if x.failed != nil { // whatever the client answers (RFC 7628 section 3.2.3)
		return nil, true, x.failed
	}
	if response == nil {
		return []byte{}, false, nil // the client sends the first message
	}
	form := bearerResponse
	if x.mechanism == xoauth2 {
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

// login checks who holds the token. If the client gave a name, it must be that of the holder. A
// client without a token wants to know how to get one (RFC 7628 section 3.2.2), and has failed too.
func (x *tokenLogin) login(name, token string) error {
	p := &x.peer
	counted := name
	if counted == "" { // so that failures of one client do not count against all
		counted = "token from " + p.From.String()
	}
	if err := x.users.Admit(p.From, counted); err != nil {
		return err
	}
	holder, err := "", fmt.Errorf("%w: there is none", ErrToken)
	if token != "" {
		holder, err = x.tokens.Holder(p.Ctx, token)
	}
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
	p.login(user)
	return nil
}

// reason returns what the client is told before the login fails.
func (x *tokenLogin) reason() []byte {
	hint := x.tokens.Hint()
	r := struct {
		Status        string `json:"status"`
		Schemes       string `json:"schemes,omitempty"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{"invalid_token", "", hint.Scope, hint.Configuration}
	if x.mechanism == xoauth2 {
		r.Status, r.Schemes, r.Configuration = "401", "Bearer", ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		return []byte(`{"status":"invalid_token"}`)
	}
	return text
}

// bearerResponse parses the response of OAUTHBEARER (RFC 7628 section 3.1). Host and port are
// ignored, because this package does not know the names by which clients reach the server.
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

// saslName decodes a name from a GS2 header (RFC 5801 section 4).
func saslName(text string) (string, bool) {
	name := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(text)
	return name, strings.Count(text, "=") == strings.Count(text, "=2C")+strings.Count(text, "=3D") && text != "" && !strings.Contains(text, ",")
}

// authPair returns the token in "key=value^A...^A", "" if there is none. Other keys are ignored.
func authPair(pairs string) (token string, ok bool) {
	if pairs == "\x01" {
		return "", true
	}
	pairs, ended := strings.CutSuffix(pairs, "\x01\x01")
	if !ended {
		return "", false
	}
	seen := false
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
		if seen || value != "" && (!strings.EqualFold(scheme, "Bearer") || !isToken(rest)) {
			return "", false
		}
		token, seen = rest, true
	}
	return token, true
}

// isToken reports whether text is a b64token (RFC 6750 section 2.1).
func isToken(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && strings.IndexFunc(body, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._~+/", r)
	}) < 0
}

// xoauth2Response parses "user=name^Aauth=Bearer token^A^A".
func xoauth2Response(response []byte) (name, token string, ok bool) {
	user, pairs, found := bytes.Cut(response, []byte{1})
	text, isUser := strings.CutPrefix(string(user), "user=")
	if !found || !isUser || text == "" {
		return "", "", false
	}
	token, ok = authPair(string(pairs))
	return text, token, ok
}
