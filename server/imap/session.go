package imap

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
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

// session is a connection and its state. It is used by one goroutine only.
type session struct {
	srv  *Server
	wire *wire.Conn
	lx   *lexer
	w    *writer
	log  *slog.Logger
	// anonymous is log without the user name.
	anonymous *slog.Logger
	// ctx is cancelled when Shutdown stops waiting for the session.
	ctx   context.Context
	peer  accept.Peer
	tls   bool
	began time.Time

	tag          []byte    // of the current command
	done         done      // tagged response of the current command
	progressAt   time.Time // when the client last heard of the command's progress; zero at its start
	badStreak    int       // consecutive BAD commands
	failedLogins int       // failed logins
	toldTLS      bool      // a password sent without TLS has been logged

	user    auth.User
	granted login.Granted    // the login, for revocation
	account *maildir.Account // nil before login
	sel     *selection       // nil without a selected mailbox

	enabled
	notify *notifier // nil until NOTIFY is used

	logout bool // LOGOUT was received
}

// selection is the selected mailbox of a session.
type selection struct {
	name string
	box  *maildir.Mailbox
	view *mailbox.View
	// saved is the value of "$": UIDs in ascending order. Some of the messages may no
	// longer exist.
	saved []mailbox.Range
	// last is what FETCH remembers of the last message that it served.
	last   mailfile.Known
	modseq clientModSeq
	// own are the UIDs of messages that commands of this client added, so that NOTIFY
	// does not report them.
	own []uint32
	// contexts are the searches whose results are kept up to date (RFC 5267).
	contexts []*searchContext
	changed  []mailbox.Message // by this client, and not yet tested against contexts
	// leaving: this client has deleted or renamed the mailbox. It may go on with commands that
	// need no selected mailbox, as with Dovecot, such as SUBSCRIBE with the new name, and IDLE.
	leaving bool
	// aside: the answer to a command that does not ask for news changed the number of messages.
	// IDLE repeats it.
	aside bool
}

// mayBeGone notes that the client has deleted or renamed a mailbox, which may be the selected one.
func (s *session) mayBeGone() {
	if s.sel != nil && s.sel.box.Replaced() {
		s.sel.leaving = true
	}
}

// left reports whether the client knows that its mailbox is gone, having seen to it itself.
func (s *session) left() bool { return s.sel != nil && s.sel.leaving }

// state returns the state of the session.
func (s *session) state() states {
	switch {
	case s.account == nil:
		return notAuthenticated
	case s.sel == nil:
		return authenticated
	}
	return selected
}

// unselect closes the selected mailbox, if any.
func (s *session) unselect() {
	if s.sel == nil {
		return
	}
	s.sel.view.Close()
	s.sel.box.Release()
	s.sel = nil
	s.wire.Forget(wire.NewsMailbox)
}

// writable returns an error if the selected mailbox is read-only.
func (s *session) writable() error {
	if s.sel.view.ReadOnly() {
		return mailbox.ErrReadOnly
	}
	return nil
}

// messages returns the messages of a set in ascending order, each once. A sequence
// number beyond the last message is an error, and in an empty mailbox so is "*" (RFC 9051
// section 9, seq-number). UIDs that do not exist are ignored.
func (s *session) messages(set syntax.NumSet, uid bool) (iter.Seq[mailbox.Message], error) {
	ranges, uid, err := s.ranges(set, uid)
	if err != nil {
		return nil, err
	}
	return s.sel.view.Messages(ranges, uid), nil
}

// uids returns the UIDs of a set of messages in ascending order.
func (s *session) uids(set syntax.NumSet, uid bool) ([]uint32, error) {
	msgs, err := s.messages(set, uid)
	if err != nil {
		return nil, err
	}
	var uids []uint32
	for m := range msgs {
		if cap(uids) == 0 {
			uids = make([]uint32, 0, min(s.sel.view.Exists(), 1024))
		}
		uids = append(uids, m.UID)
	}
	return slices.Clip(uids), nil
}

// ranges resolves a set to ranges for the view; uids reports whether they are UIDs.
func (s *session) ranges(set syntax.NumSet, uid bool) (ranges []mailbox.Range, uids bool, err error) {
	view := s.sel.view
	if set.Saved {
		return s.sel.saved, true, nil
	}
	if uid {
		return set.Resolve(max(view.LastUID(), 1)), true, nil
	}
	exists := view.Exists()
	if exists == 0 {
		return nil, false, bad("The mailbox is empty.")
	}
	ranges = set.Resolve(exists)
	for _, r := range ranges {
		if r.Last > exists {
			return nil, false, bad("No such message: %d.", r.Last)
		}
	}
	return ranges, false, nil
}

// interrupted returns an error if a long command should stop because the client is
// gone, the login was revoked or Shutdown no longer waits for the session. It is cheap enough
// to be called for every message.
func (s *session) interrupted() error {
	return s.interruptedAt(time.Now())
}

// interruptedAt is interrupted for callers that know the time.
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
