package imap

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"maildird/auth"
	"maildird/maildir"
	"maildird/maildir/mailbox"
	"maildird/server/accept"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
	"maildird/server/imap/wire"
	"maildird/server/login"
)

// session is one connection and what its client did on it. One goroutine runs
// it.
type session struct {
	srv  *Server
	wire *wire.Conn
	lx   *lexer
	w    *writer
	log  *slog.Logger
	// anonymous is log without the user's name.
	anonymous *slog.Logger
	// ctx ends when the server does not wait for the session any longer.
	ctx   context.Context
	peer  accept.Peer
	tls   bool
	began time.Time

	tag     []byte    // of the command that runs
	done    done      // its response
	told    time.Time // when its client heard last how far it is; zero until it works
	badRow  int       // bad commands since the last good one
	fails   int       // failed logins
	toldTLS bool      // the log was told that a password came without TLS

	user    auth.User
	granted login.Granted
	account *maildir.Account // nil before login
	sel     *selection       // nil without a selected mailbox

	enabled
	notify *notifier // nil before NOTIFY was used

	logout bool // LOGOUT was done
}

// selection is the selected mailbox.
type selection struct {
	name string
	box  *maildir.Mailbox
	view *mailbox.View
	// saved is what "$" stands for: UIDs, ascending, maybe of messages that
	// are gone by now.
	saved []mailbox.Range
	// last is what FETCH knows of the message that it served last.
	last   mailfile.Known
	modseq clientModSeq
	// own are messages that came by commands of the client, which need not be
	// told what NOTIFY would have told of them.
	own []uint32
	// contexts are the searches whose results are kept up to date.
	contexts []*searchContext
	changed  []mailbox.Message // that the client changed since they were told
}

// state is the state of the session as one bit.
func (s *session) state() states {
	switch {
	case s.account == nil:
		return notAuthenticated
	case s.sel == nil:
		return authenticated
	}
	return selected
}

// unselect closes the selected mailbox, if there is one.
func (s *session) unselect() {
	if s.sel == nil {
		return
	}
	s.sel.view.Close()
	s.sel.box.Release()
	s.sel = nil
	s.wire.Forget(wire.NewsMailbox)
}

// writable returns an error unless the selected mailbox may be changed.
func (s *session) writable() error {
	if s.sel.view.ReadOnly() {
		return mailbox.ErrReadOnly
	}
	return nil
}

// messages gives the messages of a set, ascending and each once. Sequence
// numbers beyond the last message are an error (RFC 9051 section 9, seq-number),
// but for those of an empty mailbox; UIDs that are not there are passed over.
func (s *session) messages(set syntax.NumSet, uid bool) (iter.Seq[mailbox.Message], error) {
	ranges, uid, err := s.ranges(set, uid)
	if err != nil {
		return nil, err
	}
	return s.sel.view.Messages(ranges, uid), nil
}

// ranges gives the ranges of a set for the view; uids says whether they are UIDs.
func (s *session) ranges(set syntax.NumSet, uid bool) (ranges []mailbox.Range, uids bool, err error) {
	view := s.sel.view
	if set.Saved {
		return s.sel.saved, true, nil
	}
	if uid {
		return set.Resolve(max(view.LastUID(), 1)), true, nil
	}
	exists := view.Exists()
	ranges = set.Resolve(exists)
	for _, r := range ranges {
		if r.Last > exists && exists > 0 {
			return nil, false, bad("No such message: %d.", r.Last)
		}
	}
	return ranges, false, nil
}

// interrupted returns an error when a long command need not go on: the client
// is gone, or the server ends. It is cheap enough to be asked for each message.
func (s *session) interrupted() error {
	return s.interruptedAt(time.Now())
}

// interruptedAt is interrupted for who knows the time.
func (s *session) interruptedAt(now time.Time) error {
	if s.w.Err() != nil {
		return &connError{s.w.Err()}
	}
	if err := s.ctx.Err(); err != nil {
		return &connError{err}
	}
	if s.granted.Revoked() {
		return errRevoked()
	}
	if err := s.wire.PeerGone(now); err != nil {
		return &connError{err}
	}
	return nil
}

func isConnError(err error) bool {
	var c *connError
	return errors.As(err, &c)
}
