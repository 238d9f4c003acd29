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
// may log in as carol, and dave is removed after a lookup.
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
	if name == "carol" {
		return auth.ErrNotAllowed
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

// TestCounted: every login that is refused because of the client's data is counted as a
// failure, once; one that is not checked is not counted; and each refusal has its reason.
func TestCounted(t *testing.T) {
	proofFor := func(name, password, identity string) func(*noted, Peer) error {
		return func(u *noted, p Peer) error {
			client, err := scram.SHA256.NewClient(name, password, identity)
			if err != nil {
				return err
			}
			conv, server, challenge := client.NewConversation(), NewSCRAMLogin(u, p, false), ""
			for done := false; !done; {
				said, err := conv.Step(challenge)
				if err != nil {
					return err
				}
				var answer []byte
				if answer, done, err = server.Next([]byte(said)); err != nil {
					return err
				}
				challenge = string(answer)
			}
			return nil
		}
	}
	proof := func(name, password string) func(*noted, Peer) error { return proofFor(name, password, "") }
	token := func(mechanism, response, reason string) func(*noted, Peer) error {
		return func(u *noted, p Peer) error {
			server := NewTokenLogin(mechanism, u, holders{}, p)
			text, done, err := server.Next([]byte(response))
			if string(text) != reason {
				t.Errorf("%s tells %s, want %s", mechanism, text, reason)
			}
			if err == nil && !done {
				_, _, err = server.Next(nil)
			}
			return err
		}
	}
	bearer := func(name, of, reason string) func(*noted, Peer) error {
		if name != "" {
			name = "a=" + name
		}
		return token(OAuthBearer, "n,"+name+",\x01auth=Bearer "+of+"\x01\x01", reason)
	}
	const invalid = `{"status":"invalid_token","scope":"mail"}`
	for what, c := range map[string]struct {
		login  func(*noted, Peer) error
		locked bool
		err    error
		calls  string
	}{
		"SCRAM":                {login: proof("alice", "secret"), calls: "succeeded alice, alice"},
		"wrong proof":          {login: proof("alice", "Secret"), err: ErrProof, calls: "failed alice"},
		"SCRAM for another":    {login: proofFor("alice", "secret", "bob"), err: ErrOther, calls: "failed alice"},
		"wrong, for another":   {login: proofFor("alice", "Secret", "bob"), err: ErrProof, calls: "failed alice"},
		"SCRAM for oneself":    {login: proofFor("alice", "secret", "Alice"), calls: "succeeded alice, alice"},
		"proof of no user":     {login: proof("mallory", "Secret"), err: ErrProof, calls: "failed mallory"},
		"SCRAM of one removed": {login: proof("dave", "secret"), err: ErrProof},
		"SCRAM, not let in":    {login: proof("carol", "secret"), err: auth.ErrNotAllowed, calls: "failed carol"},
		"SCRAM during a lock":  {login: proof("alice", "secret"), locked: true, err: auth.ErrThrottled},
		"wrong during a lock":  {login: proof("alice", "Secret"), locked: true, err: auth.ErrThrottled},
		"token":                {login: bearer("", "alice", ""), calls: "succeeded token from 192.0.2.7, alice"},
		"token of the named":   {login: bearer("alice", "alice", ""), calls: "succeeded alice, alice"},
		"invalid token":        {login: bearer("alice", "bad", invalid), err: ErrToken, calls: "failed alice"},
		"invalid, XOAUTH2":     {login: token(XOAuth2, "user=alice\x01auth=Bearer bad\x01\x01", `{"status":"401","schemes":"Bearer","scope":"mail"}`), err: ErrToken, calls: "failed alice"},
		"no token":             {login: token(OAuthBearer, "n,a=alice,\x01auth=\x01\x01", invalid), err: ErrToken, calls: "failed alice"},
		"token of nobody here": {login: bearer("", "mallory", invalid), err: ErrToken, calls: "failed token from 192.0.2.7"},
		"token of another":     {login: bearer("bob", "alice", ""), err: ErrOther, calls: "failed bob"},
		"token, not let in":    {login: bearer("", "carol", ""), err: auth.ErrNotAllowed, calls: "failed token from 192.0.2.7"},
		"token during a lock":  {login: bearer("alice", "alice", ""), locked: true, err: auth.ErrThrottled},
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
				Login:   func(user auth.User) { u.calls = append(u.calls, user.Name) },
				Refused: func(_, _ string, err error) error { return err },
			}
			if err := c.login(u, p); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if got := strings.Join(u.calls, ", "); got != c.calls {
				t.Errorf("noted %q, want %q", got, c.calls)
			}
		})
	}
}
