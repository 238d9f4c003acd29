package sasl

import "github.com/emersion/go-sasl"

// loginExchange is the server's side of LOGIN (draft-murchison-sasl-login),
// which has no standard, but clients that know no other.
type loginExchange struct {
	check func(name, password string) error
	name  *string // nil until the client told it
	asked bool
}

// NewLogin begins an exchange. Its result is that of check.
func NewLogin(check func(name, password string) error) sasl.Server {
	return &loginExchange{check: check}
}

// Next implements go-sasl's Server. The name may come with the command.
func (x *loginExchange) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil && !x.asked:
		x.asked = true
		return []byte("Username:"), false, nil
	case x.name == nil:
		name := string(response)
		x.name = &name
		return []byte("Password:"), false, nil
	}
	return nil, true, x.check(*x.name, string(response))
}
