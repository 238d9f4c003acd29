package server

import (
	"context"
	"time"

	"maildird/maildir/contain"
)

// lookInterval is how often the users file and the aliases file are checked.
const lookInterval = time.Second / 2

// every calls f every lookInterval until ctx ends.
func (s *Server) every(ctx context.Context, f func()) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			contain.Run(s.log, "panic while the users or aliases were reread", f)
		}
	}
}

// watchUsers rereads the users file when it changes, and ends the sessions of users whose
// logins are no longer valid. seen is the last revision that sessions were checked against. It
// returns when ctx ends.
func (s *Server) watchUsers(ctx context.Context, seen uint64) {
	s.every(ctx, func() {
		s.users.Refresh()
		now := s.users.Revision()
		if now == seen {
			return
		}
		seen = now
		for _, v := range s.services {
			if v, ok := v.(interface{ Recheck() }); ok {
				v.Recheck()
			}
		}
	})
}

// watchAliases rereads the aliases file when it changes. It has its own goroutine, because a
// million lines take long. It returns when ctx ends.
func (s *Server) watchAliases(ctx context.Context) {
	s.every(ctx, func() { s.aliases.Refresh(ctx) })
}
