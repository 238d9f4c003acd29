package server

import (
	"fmt"
	"log/slog"

	"maildird/server/config"
	"maildird/server/oauth"
	"maildird/server/sasl"
)

// newTokens returns what checks OAuth access tokens; nil if none are taken.
func newTokens(cfg *config.OAuth, log *slog.Logger) (sasl.Tokens, error) {
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
