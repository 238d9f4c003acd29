package imap

import (
	"context"
	"time"

	"maildird/maildir"
)

// peerInterval is how often a waiting session checks whether its client is still connected.
const peerInterval = time.Second

// waitContext returns a context for waiting, such as for the lock of another program, or until
// another session has opened a mailbox. The context ends when Shutdown no longer waits for the
// session, when the client disconnects, or when done is called. The caller must call done.
func (s *session) waitContext() (ctx context.Context, done func()) {
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

// open opens a mailbox, which the caller must release.
func (s *session) open(name string) (*maildir.Mailbox, error) {
	ctx, done := s.waitContext()
	defer done()
	return s.account.Open(ctx, name)
}
