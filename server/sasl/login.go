package sasl

// loginExchange is the server side of LOGIN (draft-murchison-sasl-login). It never became a
// standard, but some clients know nothing else.
type loginExchange struct {
	check func(name, password string) error
	name  *string // nil until the client has sent it
	asked bool
}

// Next implements go-sasl's Server. The first response may be the name.
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
