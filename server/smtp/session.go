package smtp

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir/delivery"
)

// session is what a client wants: who it is, and the mail transaction that is
// under way.
type session struct {
	srv  *Server
	peer *peer
	log  *slog.Logger
	user *auth.User // who logged in

	from    *envelope // nil: there is no transaction
	to      []accepted
	targets []target         // of to, each once
	copies  map[string][]int // indexes in targets by the user's name
	refused int              // recipients
	count   int              // messages of the session

	relaying *relaying // recipients elsewhere; nil: there is none so far
}

// accepted is one RCPT command that was answered by 250.
type accepted struct {
	text    string // the address as the client gave it
	targets []int  // indexes in targets; several for an alias, none elsewhere
	alias   bool
}

// target is a copy of the message: whose it is and the address that it is for.
type target struct {
	user    auth.User
	address string
	alias   string // that led to it, as the client gave it; "" if none did
}

// mostCopies bounds the copies of one message. An alias alone may have as many as it
// leads to.
const mostCopies = aliases.MaxUsers

// reset ends the mail transaction.
func (s *session) reset() {
	s.relaying.close()
	s.relaying = nil
	s.from, s.to, s.targets, s.copies, s.refused = nil, nil, nil, nil, 0
}

// sender is the reverse-path as it is logged.
func (s *session) sender() string {
	if s.from == nil {
		return "<>"
	}
	return s.from.text()
}

// mail begins a transaction.
func (s *session) mail(e envelope) error {
	cfg := &s.srv.cfg
	if cfg.FreeSpace != nil {
		free, err := cfg.FreeSpace()
		if err != nil {
			s.log.Error("cannot determine how much space is free", "error", err)
		} else if free < cfg.Reserve+uint64(e.size) {
			s.log.Error("message refused", "from", shorten(e.text()), "error", fmt.Errorf(
				"%w: %d bytes are free, the reserve is %d bytes, and the message has %d", delivery.ErrReserve, free, cfg.Reserve, e.size))
			return errNoSpace()
		}
	}
	switch {
	case e.null:
	case s.srv.kind == Submission:
		if e.sender.domain == "" { // RFC 6409 section 4.2: there has to be one
			_, e.sender.domain, _ = strings.Cut(s.user.Name, "@")
		}
		if !s.srv.recipients.own(s.user, e.sender) {
			return s.notYours(e.sender.String())
		}
	case e.sender.domain == "" && s.srv.kind == MX:
		// RFC 5321 section 4.1.2: only <Postmaster> in RCPT has no domain. The
		// relay that LMTP is for may know its own users by less.
		return refusal(553, code3{5, 1, 7}, "Sender has no domain")
	}
	if s.srv.kind == Submission && !cfg.Mail.Message(s.user.Name, cfg.Now()) {
		s.log.Warn("message refused", "reason", "too many messages from this user in an hour")
		return refusal(450, code3{4, 7, 1}, "Too many messages in an hour, try again later")
	}
	s.from = &e
	return nil
}

// notYours refuses a sender that is not the user's.
func (s *session) notYours(sender string) error {
	s.log.Warn("message refused", "from", shorten(sender), "reason", "sender is not the user")
	return refusal(553, code3{5, 7, 1}, "Sender address does not belong to %s", s.user.Name)
}

// rcpt adds a recipient.
func (s *session) rcpt(to address) error {
	if len(s.to) >= s.srv.cfg.Limits.Recipients {
		return errTooMany()
	}
	if s.srv.relays(to) {
		return s.relayTo(to)
	}
	targets, err := s.srv.recipients.find(to, s.srv.kind)
	if err != nil {
		s.refused++
		return err
	}
	more := slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return s.copy(t) >= 0 })
	if len(s.targets) > 0 && len(s.targets)+len(more) > max(mostCopies, s.srv.cfg.Limits.Recipients) {
		return errTooMany()
	}
	for _, t := range more {
		if err := s.room(t, s.from.size); err != nil {
			return err
		}
	}
	if err := s.countRecipient(to); err != nil {
		return err
	}
	s.to = append(s.to, accepted{to.String(), s.addTargets(targets), targets[0].alias != ""})
	return nil
}

// countRecipient counts a recipient of what a user submits, or refuses it.
func (s *session) countRecipient(to address) error {
	if cfg := &s.srv.cfg; s.srv.kind == Submission && !cfg.Mail.Recipient(s.user.Name, cfg.Now()) {
		s.log.Warn("recipient refused", "to", shorten(to.String()), "reason", "too many recipients from this user in an hour")
		return refusal(450, code3{4, 7, 1}, "Too many recipients in an hour, try again later")
	}
	return nil
}

func errTooMany() error {
	return refusal(452, code3{4, 5, 3}, "Too many recipients, send the rest in another message")
}

// room refuses a message of so many bytes that a user's quota has no room for, or if
// that cannot be known. An alias one of whose users has no room is refused as a whole:
// there is no queue that his copy could wait in, and an answer for all that says it is
// stored would lose it.
func (s *session) room(t target, size int64) error {
	if s.srv.cfg.Room == nil {
		return nil
	}
	err := s.srv.cfg.Room(s.srv.conns.Work(), t.user, size)
	if err == nil {
		return nil
	}
	log := s.log.With("user", t.user.Name)
	if t.alias != "" {
		log = log.With("alias", t.alias)
	}
	switch delivery.CauseOf(err) {
	case delivery.OverQuota:
		log.Info("recipient refused for now", "reason", err)
		return errMailboxFull()
	case delivery.TooBig:
		s.refused++
		return errNeverFits()
	}
	log.Error("mailbox cannot be read", "error", err)
	return tempFailure()
}

// copy returns the index of the copy that a target has already, else -1. One who is
// named twice gets the message once; one who is named with two details gets two, unless
// an alias leads to him.
func (s *session) copy(t target) int {
	for _, i := range s.copies[t.user.Name] {
		if other := &s.targets[i]; other.address == t.address || other.alias != "" || t.alias != "" {
			return i
		}
	}
	return -1
}

// addTargets adds copies for those who have none, and returns the indexes of all.
func (s *session) addTargets(targets []target) []int {
	if s.copies == nil {
		s.copies = map[string][]int{}
	}
	indexes := make([]int, len(targets))
	for n, t := range targets {
		i := s.copy(t)
		if i < 0 {
			i = len(s.targets)
			s.targets = append(s.targets, t)
			s.copies[t.user.Name] = append(s.copies[t.user.Name], i)
		}
		indexes[n] = i
	}
	return indexes
}

// nextID names a message, in replies, logs and Received.
func (s *session) nextID() string {
	s.count++
	return s.peer.Session + "-" + strconv.Itoa(s.count)
}
