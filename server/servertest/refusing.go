package servertest

import (
	"context"
	"net/netip"
	"sync/atomic"

	"maildird/auth"
)

// Refusing is a sasl.Passwords that refuses all logins because of a lock, as if it had checked
// none. Only the first refusal is to be logged.
type Refusing struct{ asked atomic.Int32 }

// Authenticate returns auth.ErrThrottled the first time, then auth.ErrThrottledAgain.
func (r *Refusing) Authenticate(context.Context, netip.Addr, string, string) (auth.User, error) {
	if r.asked.Add(1) > 1 {
		return auth.User{}, auth.ErrThrottledAgain
	}
	return auth.User{}, auth.ErrThrottled
}
