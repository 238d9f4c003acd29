package server

import (
	"context"
	"fmt"
	"log/slog"

	"maildird/server/config"
	"maildird/server/oauth"
	"maildird/server/sasl"
)

// checkTokens fetches the issuer's keys, if tokens are verified with them.
func checkTokens(cfg *config.OAuth, log *slog.Logger) error {
	v, err := newTokens(cfg, log)
	if err != nil || v == nil {
		return err
	}
	if err := v.CheckKeys(context.Background()); err != nil {
		return fmt.Errorf("auth.oauth.jwks: %w", err)
	}
	return nil
}

// newTokens returns the verifier of OAuth access tokens, nil if none are accepted.
func newTokens(cfg *config.OAuth, log *slog.Logger) (*oauth.Verifier, error) {
	if cfg == nil {
		return nil, nil
	}
	v, err := oauth.New(oauth.Config{
		Issuer: cfg.Issuer, Audience: cfg.Audience, JWKS: cfg.JWKS,
		Introspection: cfg.Introspection, ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret,
		UsernameClaim: cfg.UsernameClaim, Hint: sasl.Hint{Scope: cfg.Scope, Configuration: cfg.Configuration},
		Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("auth.oauth: %w", err)
	}
	return v, nil
}
