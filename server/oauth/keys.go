package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"maildird/server/sasl"
)

// algorithms are the accepted signature algorithms: those with private keys. "none", and
// algorithms with shared keys (HS...), are not accepted.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	// keysFor is how long keys are used before they are fetched again.
	keysFor = time.Hour
	// keysAgain is the minimum time between two attempts to fetch the keys, for a token with an
	// unknown key or after a failure.
	keysAgain = 30 * time.Second
	// keysLast is how long keys are used while new ones cannot be fetched.
	keysLast = 24 * time.Hour
	// maxKeys is the maximum number of keys that a signature is verified with.
	maxKeys = 100
)

// CheckKeys fetches the keys of the issuer, and returns an error if tokens cannot be verified
// with them. It does nothing if tokens are checked by introspection.
func (v *Verifier) CheckKeys(ctx context.Context) error {
	if v.keys == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := v.keys.load(ctx)
	return err
}

// signed verifies the signature of a JWT and returns its claims.
func (v *Verifier) signed(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sasl.ErrToken, err)
	}
	header := jws.Signatures[0].Protected
	keys, err := v.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("keys of the issuer: %w", err)
	}
	for _, key := range keys {
		if key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != header.Algorithm || !key.IsPublic() {
			continue
		}
		if text, err := jws.Verify(key.Key); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("%w: it is not signed by a key of the issuer", sasl.ErrToken)
}

// keySet is the keys of the issuer as last fetched. Fetches are serialised. Those whose key is
// known do not wait for the fetch of another, and the others can give up waiting.
type keySet struct {
	v   *Verifier
	now atomic.Pointer[fetched]

	busy  chan struct{} // capacity 1; guards the rest
	tried time.Time     // the last attempt to fetch the keys
	err   error         // of that attempt
}

// fetched is the keys and when they were fetched; zero for never.
type fetched struct {
	jose.JSONWebKeySet
	at time.Time
}

// find returns the keys with an ID, or all keys if it is empty; none if the issuer has no such
// key. It fetches them again if there are none, or they are old. Its errors are those of
// fetching, and of ctx.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	now := k.v.cfg.Now()
	keys, at := k.have(id)
	if len(keys) > 0 && now.Sub(at) < keysFor {
		return keys, nil
	}
	select {
	case k.busy <- struct{}{}:
	default:
		if len(keys) > 0 && now.Sub(at) <= keysLast {
			return keys, nil // while somebody else fetches new ones
		}
		select {
		case k.busy <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { <-k.busy }()
	if k.tried.IsZero() || now.Sub(k.tried) >= keysAgain {
		k.tried = now
		var set jose.JSONWebKeySet
		if set, k.err = k.load(ctx); k.err == nil {
			k.now.Store(&fetched{set, now})
		} else {
			k.v.cfg.Log.Warn("cannot read the keys of the OAuth issuer", "keys", k.v.cfg.JWKS, "error", k.err)
		}
	}
	keys, at = k.have(id)
	if now.Sub(at) > keysLast {
		return nil, k.err
	}
	return keys, nil
}

// have returns the keys with an ID, or all keys if it is empty, and when they were fetched.
func (k *keySet) have(id string) ([]jose.JSONWebKey, time.Time) {
	set := k.now.Load()
	if id == "" {
		return set.Keys, set.at
	}
	return set.Key(id), set.at
}

// load fetches the keys.
func (k *keySet) load(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	text, err := k.text(ctx)
	if err != nil {
		return set, err
	}
	// Ignore keys of unknown types.
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return set, fmt.Errorf("%s: %w", k.v.cfg.JWKS, err)
	}
	for _, one := range raw.Keys[:min(len(raw.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(one, &key) == nil && key.Valid() {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return set, fmt.Errorf("%s contains no usable key", k.v.cfg.JWKS)
	}
	return set, nil
}

func (k *keySet) text(ctx context.Context) ([]byte, error) {
	where := k.v.cfg.JWKS
	if isURL(where) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
		if err != nil {
			return nil, err
		}
		return k.v.ask(req)
	}
	f, err := os.Open(where)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxAnswer))
}
