package imap

import (
	"context"
	"time"

	"maildird/maildir"
)

// peerInterval is how often a session that waits for others looks for its client.
const peerInterval = time.Second

// whileThere gives a context for a wait: for the lock of another program, or until
// another session has opened a mailbox. It ends with the server, when the client goes,
// and when done is called, which must be.
func (s *session) whileThere() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	watch := time.AfterFunc(peerInterval, func() {
		tick := time.NewTicker(peerInterval)
		defer tick.Stop()
		for s.wire.PeerGone(time.Now()) == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		cancel()
	})
	return ctx, func() {
		watch.Stop()
		cancel()
	}
}

// open opens a mailbox, for the caller to release.
func (s *session) open(name string) (*maildir.Mailbox, error) {
	ctx, done := s.whileThere()
	defer done()
	return s.account.Open(ctx, name)
}
