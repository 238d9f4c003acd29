package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"maildird/server/sasl"
)

// algorithms are the signatures that are taken: those of private keys. "none",
// and those of keys that the issuer would share with us (HS...), are not.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const (
	// keysFor is how long keys are used before they are read again.
	keysFor = time.Hour
	// keysAgain is how long after a reading the next one may come, for a token
	// with a key that is not known, or after a failure.
	keysAgain = 30 * time.Second
	// keysLast is how long keys are used while new ones cannot be had.
	keysLast = 24 * time.Hour
	// maxKeys bounds the keys that a signature is tried with.
	maxKeys = 100
)

// CheckKeys reads the issuer's keys and tells why tokens could not be checked with them.
// Where he is asked about tokens it does nothing.
func (v *Verifier) CheckKeys(ctx context.Context) error {
	if v.keys == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := v.keys.load(ctx)
	return err
}

// signed checks the signature of a JWT and returns its claims.
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

// keySet is the issuer's keys as they were read last. Readings are one at a
// time; who waits for one can give up.
type keySet struct {
	v    *Verifier
	busy chan struct{} // capacity 1

	set   jose.JSONWebKeySet
	read  time.Time // when set was read; zero: never
	tried time.Time // when it was read, or that failed
	err   error     // of the last reading
}

// find returns the keys with this ID, or all of them for none. It reads them
// anew if there are none, or they are old.
func (k *keySet) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	select {
	case k.busy <- struct{}{}:
		defer func() { <-k.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := k.v.cfg.Now()
	keys := k.have(id)
	fresh := !k.read.IsZero() && now.Sub(k.read) < keysFor && len(keys) > 0
	if fresh {
		return keys, nil
	}
	if k.tried.IsZero() || now.Sub(k.tried) >= keysAgain {
		var set jose.JSONWebKeySet
		k.tried = now
		if set, k.err = k.load(ctx); k.err == nil {
			k.set, k.read = set, now
			return k.have(id), nil
		}
		k.v.cfg.Log.Warn("cannot read the keys of the OAuth issuer", "keys", k.v.cfg.JWKS, "error", k.err)
	}
	if k.read.IsZero() || now.Sub(k.read) > keysLast {
		return nil, k.err
	}
	return keys, nil
}

func (k *keySet) have(id string) []jose.JSONWebKey {
	if id == "" {
		return k.set.Keys
	}
	return k.set.Key(id)
}

// load reads the keys.
func (k *keySet) load(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	text, err := k.text(ctx)
	if err != nil {
		return set, err
	}
	// Keys of kinds that are not known are passed over, not refused.
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
