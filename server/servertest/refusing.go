package servertest

import (
	"context"
	"net/netip"
	"sync/atomic"

	"maildird/auth"
)

// Refusing is a source of users that checks no login: of a lock that refuses
// all of them. Only the first is worth a line in the log.
type Refusing struct{ asked atomic.Int32 }

// Authenticate fails.
func (r *Refusing) Authenticate(context.Context, netip.Addr, string, string) (auth.User, error) {
	if r.asked.Add(1) > 1 {
		return auth.User{}, auth.ErrThrottledAgain
	}
	return auth.User{}, auth.ErrThrottled
}
