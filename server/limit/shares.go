package limit

import "sync"

// Shares gives each user a share of something, such as memory, that is given back after use. It is
// safe for concurrent use.
type Shares struct {
	each int64

	mu    sync.Mutex
	taken map[string]int64 // by user
}

// NewShares returns Shares of the same size for every user.
func NewShares(each int64) *Shares { return &Shares{each: each, taken: map[string]int64{}} }

// Take takes n of a user's share; false means that less than that is left, and nothing is taken.
func (s *Shares) Take(user string, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.each-s.taken[user] {
		return false
	}
	s.taken[user] += n
	return true
}

// Give gives n of a user's share back.
func (s *Shares) Give(user string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[user] -= n; s.taken[user] <= 0 {
		delete(s.taken, user)
	}
}
