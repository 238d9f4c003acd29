package sasl

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"maildird/auth"
)

// noted are users that record how their logins are counted. alice and bob may log in, nobody
// may log in as carol, dave is removed after a lookup, and the password of erika cannot be
// checked.
type noted struct {
	keys    scram.StoredCredentials
	locked  bool
	removed bool
	calls   []string
}

func (u *noted) SCRAMReady() bool                     { return true }
func (u *noted) SCRAM(string) scram.StoredCredentials { return u.keys }
func (u *noted) Succeeded(_ netip.Addr, name string)  { u.calls = append(u.calls, "succeeded "+name) }
func (u *noted) Lookup(name string) (auth.User, bool) {
	if name == "dave" && !u.removed {
		u.removed = true
		return auth.User{Name: name}, true
	}
	return auth.User{Name: name}, slices.Contains([]string{"alice", "bob", "carol"}, name)
}

func (u *noted) Allowed(_ netip.Addr, name string) error {
	switch name {
	case "carol":
		return auth.ErrNotAllowed
	case "erika":
		return auth.ErrNoLogin
	}
	return nil
}

func (u *noted) Admit(_ netip.Addr, name string) error {
	if u.locked {
		return auth.ErrThrottled
	}
	return nil
}

func (u *noted) Failed(_ context.Context, _ netip.Addr, name string) {
	u.calls = append(u.calls, "failed "+name)
}

// holders accepts tokens that are the names of their holders.
type holders struct{}

func (holders) Hint() Hint { return Hint{Scope: "mail"} }

func (holders) Holder(_ context.Context, token string) (string, error) {
	if token == "bad" {
		return "", ErrToken
	}
	return token, nil
}

// Authenticate accepts the password "secret".
func (u *noted) Authenticate(_ context.Context, _ netip.Addr, name, password string) (auth.User, error) {
	user, ok := u.Lookup(name)
	if !ok || password != "secret" {
		return auth.User{}, auth.ErrInvalid
	}
	return user, nil
}

// TestMechanisms checks which mechanisms a client may use, and that no other one begins.
func TestMechanisms(t *testing.T) {
	_, state := tlsPair(t)
	u := &noted{}
	for _, c := range []struct {
		logins    Logins
		tls       bool
		plaintext bool
		want      string
	}{
		{Logins{Passwords: u}, true, true, "PLAIN LOGIN"},
		{Logins{Passwords: u}, false, false, ""},
		{Logins{Passwords: u, Users: u}, true, true, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
		{Logins{Passwords: u, Users: u}, false, true, "SCRAM-SHA-256 PLAIN LOGIN"},
		{Logins{Passwords: u, Users: u, Tokens: holders{}}, true, true, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"},
		{Logins{Passwords: u, Users: u, Tokens: holders{}}, false, false, "SCRAM-SHA-256"},
	} {
		p := Peer{Ctx: t.Context(), Plaintext: c.plaintext}
		if c.tls {
			p.TLS = state
		}
		got := c.logins.Mechanisms(p.TLS, p.Plaintext)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %s, want %s", c, got, c.want)
		}
		for _, m := range append(mechanisms, mechanism{name: "EXTERNAL"}) {
			asked := false
			_, err := c.logins.Login(m.name, nil, p, func([]byte) ([]byte, error) {
				asked = true
				return nil, errors.New("no response")
			})
			refused := errors.Is(err, ErrUnknown) || errors.Is(err, ErrPlaintext)
			if begins := slices.Contains(got, m.name); asked != begins || refused == begins {
				t.Errorf("%+v: %s: a challenge is sent: %v, error: %v", c, m.name, asked, err)
			}
		}
	}
}

// TestCounted: every login that is refused because of the client's data is counted as a
// failure, once; one that is not checked is not counted; and each refusal has its reason.
func TestCounted(t *testing.T) {
	proofFor := func(name, password, identity string) func(*Logins, Peer) (auth.User, error) {
		return func(l *Logins, p Peer) (auth.User, error) {
			client, err := scram.SHA256.NewClient(name, password, identity)
			if err != nil {
				return auth.User{}, err
			}
			conv := client.NewConversation()
			step := func(challenge []byte) ([]byte, error) {
				said, err := conv.Step(string(challenge))
				return []byte(said), err
			}
			first, err := step(nil)
			if err != nil {
				return auth.User{}, err
			}
			return l.Login("SCRAM-SHA-256", first, p, step)
		}
	}
	proof := func(name, password string) func(*Logins, Peer) (auth.User, error) {
		return proofFor(name, password, "")
	}
	// sent logs in with an initial response. The only challenge, if any, is to be reason.
	sent := func(mechanism, response, reason string) func(*Logins, Peer) (auth.User, error) {
		return func(l *Logins, p Peer) (auth.User, error) {
			told := ""
			user, err := l.Login(mechanism, []byte(response), p, func(text []byte) ([]byte, error) {
				told += string(text)
				return nil, nil
			})
			if told != reason {
				t.Errorf("%s tells %s, want %s", mechanism, told, reason)
			}
			return user, err
		}
	}
	bearer := func(name, of, reason string) func(*Logins, Peer) (auth.User, error) {
		if name != "" {
			name = "a=" + name
		}
		return sent(oauthBearer, "n,"+name+",\x01auth=Bearer "+of+"\x01\x01", reason)
	}
	const invalid = `{"status":"invalid_token","scope":"mail"}`
	for what, c := range map[string]struct {
		login  func(*Logins, Peer) (auth.User, error)
		locked bool
		err    error
		calls  string
	}{
		"SCRAM":                 {login: proof("alice", "secret"), calls: "succeeded alice, alice"},
		"wrong proof":           {login: proof("alice", "Secret"), err: ErrProof, calls: "failed alice"},
		"SCRAM for another":     {login: proofFor("alice", "secret", "bob"), err: ErrOther, calls: "failed alice"},
		"wrong, for another":    {login: proofFor("alice", "Secret", "bob"), err: ErrProof, calls: "failed alice"},
		"SCRAM for oneself":     {login: proofFor("alice", "secret", "Alice"), calls: "succeeded alice, alice"},
		"proof of no user":      {login: proof("mallory", "Secret"), err: ErrProof, calls: "failed mallory"},
		"SCRAM of one removed":  {login: proof("dave", "secret"), err: ErrProof},
		"SCRAM, not let in":     {login: proof("carol", "secret"), err: auth.ErrNotAllowed, calls: "failed carol"},
		"SCRAM without a check": {login: proof("erika", "Secret"), err: auth.ErrNoLogin, calls: "failed erika"},
		"SCRAM during a lock":   {login: proof("alice", "secret"), locked: true, err: auth.ErrThrottled},
		"wrong during a lock":   {login: proof("alice", "Secret"), locked: true, err: auth.ErrThrottled},
		"token":                 {login: bearer("", "alice", ""), calls: "succeeded token from 192.0.2.7, alice"},
		"token of the named":    {login: bearer("alice", "alice", ""), calls: "succeeded alice, alice"},
		"invalid token":         {login: bearer("alice", "bad", invalid), err: ErrToken, calls: "failed alice"},
		"invalid, XOAUTH2":      {login: sent(xoauth2, "user=alice\x01auth=Bearer bad\x01\x01", `{"status":"401","schemes":"Bearer","scope":"mail"}`), err: ErrToken, calls: "failed alice"},
		"no token":              {login: sent(oauthBearer, "n,a=alice,\x01auth=\x01\x01", invalid), err: ErrToken, calls: "failed alice"},
		"token of nobody here":  {login: bearer("", "mallory", invalid), err: ErrToken, calls: "failed token from 192.0.2.7"},
		"token of another":      {login: bearer("bob", "alice", ""), err: ErrOther, calls: "failed bob"},
		"token, not let in":     {login: bearer("", "carol", ""), err: auth.ErrNotAllowed, calls: "failed token from 192.0.2.7"},
		"password":              {login: sent("PLAIN", "\x00alice\x00secret", ""), calls: "alice"},
		"password, for oneself": {login: sent("PLAIN", "Alice\x00alice\x00secret", ""), calls: "alice"},
		"password for another":  {login: sent("PLAIN", "bob\x00alice\x00secret", ""), err: ErrOther},
		"wrong password":        {login: sent("PLAIN", "\x00alice\x00Secret", ""), err: auth.ErrInvalid},
		"not PLAIN":             {login: sent("PLAIN", "alice secret", ""), err: ErrMalformed},
		"not a token":           {login: sent(xoauth2, "alice", ""), err: ErrMalformed},
		"token during a lock":   {login: bearer("alice", "alice", ""), locked: true, err: auth.ErrThrottled},
	} {
		t.Run(what, func(t *testing.T) {
			maker, err := scram.SHA256.NewClient("", "secret", "")
			if err != nil {
				t.Fatal(err)
			}
			u := &noted{locked: c.locked}
			if u.keys, err = maker.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096}); err != nil {
				t.Fatal(err)
			}
			p := Peer{
				Ctx: t.Context(), From: netip.MustParseAddr("192.0.2.7"),
				Plaintext: true,
				Refused:   func(_, _ string, err error) error { return err },
			}
			user, err := c.login(&Logins{Passwords: u, Users: u, Tokens: holders{}}, p)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if err == nil {
				u.calls = append(u.calls, user.Name)
			}
			if got := strings.Join(u.calls, ", "); got != c.calls {
				t.Errorf("noted %q, want %q", got, c.calls)
			}
		})
	}
}
