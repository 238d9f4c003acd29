package server

import (
	"context"
	"time"
)

// lookInterval is how often the users file and the aliases file are looked at.
const lookInterval = time.Second / 2

// every calls f each lookInterval until ctx ends.
func every(ctx context.Context, f func()) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// watchUsers reads the users file again when it changes, and ends the sessions of users
// who may not log in any more as they did since a revision. It returns when ctx ends.
func (s *Server) watchUsers(ctx context.Context, seen uint64) {
	every(ctx, func() {
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

// watchAliases reads the aliases file again when it changes. Of a million lines that
// takes long, so it makes nothing else wait. It returns when ctx ends.
func (s *Server) watchAliases(ctx context.Context) {
	every(ctx, func() { s.aliases.Refresh(ctx) })
}
