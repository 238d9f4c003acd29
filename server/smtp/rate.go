package smtp

import (
	"net/netip"
	"time"
)

// rates counts the connections that networks open in a minute. Guarded by
// Server.mu.
type rates struct {
	minute time.Time
	opened map[netip.Prefix]int
}

// over counts a connection and tells whether it is more than limit in this
// minute.
func (r *rates) over(n netip.Prefix, limit int, now time.Time) bool {
	if r.opened == nil || now.Sub(r.minute) >= time.Minute {
		r.minute, r.opened = now, map[netip.Prefix]int{}
	}
	r.opened[n]++
	return r.opened[n] > limit
}
