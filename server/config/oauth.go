package config

import "strings"

// oauth is the table [auth.oauth].
type oauth struct {
	Issuer        string `toml:"issuer"`
	Audience      string `toml:"audience"`
	JWKS          string `toml:"jwks"`
	Introspection string `toml:"introspection"`
	ClientID      string `toml:"client_id"`
	ClientSecret  string `toml:"client_secret"`
	UsernameClaim string `toml:"username_claim"`
	Scope         string `toml:"scope"`
	Configuration string `toml:"openid_configuration"`
}

func (c *checker) oauth(cfg *Config, o *oauth) {
	if o == nil {
		return
	}
	out := &OAuth{
		Issuer: o.Issuer, Audience: o.Audience, JWKS: o.JWKS, Introspection: o.Introspection,
		ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		UsernameClaim: o.UsernameClaim, Scope: o.Scope, Configuration: o.Configuration,
	}
	cfg.Auth.OAuth = out
	if !strings.Contains(out.JWKS, "://") {
		out.JWKS = c.abs(out.JWKS)
	}
	if out.UsernameClaim == "" {
		out.UsernameClaim = "email"
	}
	if o.Issuer == "" {
		c.wrong("auth.oauth.issuer", "missing: the issuer of the tokens, as in their claim \"iss\"")
	}
	switch {
	case (o.JWKS == "") == (o.Introspection == ""):
		c.wrong("auth.oauth", "set either jwks, for the issuer's keys, or introspection, to ask the issuer about tokens")
	case o.JWKS != "" && o.Audience == "":
		c.wrong("auth.oauth.audience", "missing: the audience of the tokens, as in their claim \"aud\"; without it, tokens meant for others would be accepted")
	case o.Introspection != "" && o.ClientID == "":
		c.wrong("auth.oauth.client_id", "missing: introspection needs client_id and client_secret")
	}
	if strings.ContainsAny(o.Scope, " \t") {
		c.wrong("auth.oauth.scope", "%q is more than one scope", o.Scope)
	}
}
