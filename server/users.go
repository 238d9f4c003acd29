package server

import "time"

// usersInterval is how often the users file is looked at while nobody asks for a
// user.
const usersInterval = time.Second / 2

// watchUsers ends the sessions of users who may not log in any more as they did,
// when the users file is another one than at a revision. It returns at the end of
// the server.
func (s *Server) watchUsers(seen uint64) {
	tick := time.NewTicker(usersInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		now := s.users.Revision()
		if now == seen {
			continue
		}
		seen = now
		for _, v := range s.services {
			if v, ok := v.(interface{ Recheck() }); ok {
				v.Recheck()
			}
		}
	}
}
