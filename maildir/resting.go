package maildir

import "time"

// mostResting is how many accounts that nobody has are kept open, with the directories of
// their INBOX, because mail often arrives for users that received some a moment ago. Each
// uses five descriptors.
const mostResting = 64

// hold adds a reference. store.mu is held.
func (a *Account) hold() {
	a.refs++
	if a.rest != nil {
		a.store.resting.Remove(a.rest)
		a.rest = nil
	}
}

// putToRest keeps an account open that nobody has any more, if it is the one that the next
// caller would get. store.mu is held.
func (a *Account) putToRest() bool {
	s := a.store
	if a.refs > 0 || len(a.boxes) > 0 || s.accounts[a.path] != a || s.closed || s.most <= 0 {
		return false
	}
	a.since = s.env.Now()
	a.rest = s.resting.PushFront(a)
	s.schedule()
	return true
}

// endRest closes the accounts that were unused for the longest time, until at most most are
// left, none of them unused since before then. It does not wait for their disks.
func (s *Store) endRest(most int, then time.Time) {
	for {
		s.mu.Lock()
		last := s.resting.Back()
		if last == nil || s.resting.Len() <= most && !last.Value.(*Account).since.Before(then) {
			s.mu.Unlock()
			return
		}
		a := s.resting.Remove(last).(*Account)
		a.rest = nil
		delete(s.accounts, a.path)
		a.endWatch()
		s.closing.Go(func() { s.alone(a.close) })
		s.mu.Unlock()
	}
}
