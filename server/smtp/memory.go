package smtp

// The recipients of a message, and what will be written for each, are in memory until it is
// complete. Anybody can have addresses that are long, with details, and keep them for hours.
const (
	// ownMemory is the number of octets that each session has for recipients: enough for ten.
	ownMemory = 16 << 10
	// sharedMemory is what the sessions of a server have together, in addition.
	sharedMemory = 64 << 20
)

// memoryOf returns how many octets a recipient takes, roughly: it leads to that many targets, of
// which more are new.
func memoryOf(to address, targets, more int) int64 {
	const perTarget, perRecipient = 1024, 128
	text := len(to.local) + len(to.domain)
	return int64(perRecipient + 8*targets + perTarget*more + 2*text*(1+more))
}

// hold counts n octets for a recipient and reports whether there is room for them, until release.
func (s *session) hold(n int64) bool {
	shared := max(s.held+n, ownMemory) - max(s.held, ownMemory)
	if shared > 0 && s.srv.held.Add(shared) > sharedMemory {
		s.srv.held.Add(-shared)
		now := s.srv.cfg.Now()
		if s.srv.cfg.Connections.Tell(s.srv.kind.String()+" recipients", s.peer.Addr, now) {
			s.log.Warn("recipient refused", "reason", "too many recipients of messages in progress", "more", "not logged again for a minute")
		}
		return false
	}
	s.held += n
	return true
}

// release undoes hold.
func (s *session) release(n int64) {
	s.srv.held.Add(max(s.held-n, ownMemory) - max(s.held, ownMemory))
	s.held -= n
}
