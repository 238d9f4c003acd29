package smtp

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir/delivery"
)

// session is what is known about the client's intent: who it is, and the
// current mail transaction.
type session struct {
	srv  *Server
	peer *peer
	log  *slog.Logger
	user *auth.User // nil unless logged in

	from    *envelope // nil if there is no transaction
	to      []accepted
	targets []target         // of all in to, without duplicates
	copies  map[string][]int // indexes in targets by user name
	refused int              // RCPT commands that were refused
	count   int              // messages of this session
	held    int64            // see hold
	told    bool             // that too many recipients were refused

	relaying *relaying // recipients in other domains; nil while there are none
}

// accepted is a RCPT command that was accepted.
type accepted struct {
	text    string // address as the client gave it
	targets []int  // indexes in targets; several for an alias, none if relayed
	alias   bool
}

// target is a copy of the message: the user who gets it and the address that it is for.
type target struct {
	user    auth.User
	address string
	alias   string // that led to the user, as the client gave it; "" for none
}

// mostCopies is the maximum number of copies of a message. A single alias may have as many
// as it leads to.
const mostCopies = aliases.MaxUsers

// mostToOne is the maximum number of copies of a message for one user, who is named with several
// details: every message of a stranger could otherwise be a thousand on the disk. It is as many as
// a server must accept (RFC 5321 section 4.5.3.1.8); relays usually name 50 at once.
const mostToOne = 100

// reset ends the mail transaction.
func (s *session) reset() {
	s.relaying.close()
	s.relaying = nil
	s.release(s.held)
	s.from, s.to, s.targets, s.copies, s.refused, s.told = nil, nil, nil, nil, 0, false
}

// sender returns the reverse-path for the log.
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
		if e.sender.domain == "" { // RFC 6409 section 4.2: domains must be fully qualified
			_, e.sender.domain, _ = strings.Cut(s.user.Name, "@")
			if !e.utf8 {
				e.sender.domain = canonicalDomain(e.sender.domain)
			}
		}
		if !s.srv.recipients.own(s.user, e.sender) {
			return s.notYours(e.sender.String())
		}
	case e.sender.domain == "" && s.srv.kind == MX:
		// RFC 5321 section 4.1.2: only <Postmaster> in RCPT may lack a domain. The relay that
		// uses LMTP may know its own users without one.
		s.log.Info("message refused", "from", shorten(e.text()), "reason", "sender has no domain")
		return refusal(553, code3{5, 1, 7}, "Sender has no domain")
	}
	if s.srv.kind == Submission && !cfg.Mail.Message(s.user.Name, cfg.Now()) {
		s.log.Warn("message refused", "reason", "too many messages from this user in an hour")
		return refusal(450, code3{4, 7, 1}, "Too many messages in an hour, try again later")
	}
	s.from = &e
	return nil
}

// notYours refuses a sender address that does not belong to the user.
func (s *session) notYours(sender string) error {
	s.log.Warn("message refused", "from", shorten(sender), "reason", "sender is not the user")
	return refusal(553, code3{5, 7, 1}, "Sender address does not belong to %s", s.user.Name)
}

// rcpt adds a recipient.
func (s *session) rcpt(to address) error {
	if len(s.to) >= s.srv.cfg.Limits.Recipients {
		return s.tooMany(to, "the message has as many recipients as it may have")
	}
	if s.srv.relays(to) {
		return s.relayTo(to)
	}
	targets, err := s.srv.recipients.find(to, s.srv.kind)
	if err != nil {
		if r := refusalOf(err); r.Code < 500 {
			s.log.Info("recipient refused for now", "from", shorten(s.sender()), "to", shorten(to.String()), "reply", asLine(r))
		}
		return err
	}
	more := slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return s.copy(t) >= 0 })
	if len(s.targets) > 0 && len(s.targets)+len(more) > max(mostCopies, s.srv.cfg.Limits.Recipients) {
		return s.tooMany(to, "the aliases lead to too many users")
	}
	for _, t := range more {
		has := len(s.copies[t.user.Name])
		switch {
		case has >= mostToOne:
			return s.tooMany(to, "the user has as many copies of the message as he may have")
		case has == 0:
			if err := s.room(t); err != nil {
				return err
			}
		case !s.roomForAll(t.user, cmp.Or(s.from.size, s.srv.cfg.Limits.Message), has+1):
			return s.tooMany(to, "the user's quota may have no room for another copy of the message")
		}
	}
	memory := memoryOf(to, len(targets), len(more))
	if !s.hold(memory) {
		return errTooMany()
	}
	if err := s.countRecipient(to); err != nil {
		s.release(memory)
		return err
	}
	s.to = append(s.to, accepted{to.String(), s.addTargets(targets), targets[0].alias != ""})
	return nil
}

// countRecipient counts a recipient of a submission, or refuses it.
func (s *session) countRecipient(to address) error {
	if cfg := &s.srv.cfg; s.srv.kind == Submission && !cfg.Mail.Recipient(s.user.Name, cfg.Now()) {
		s.log.Warn("recipient refused", "to", shorten(to.String()), "reason", "too many recipients from this user in an hour")
		return refusal(450, code3{4, 7, 1}, "Too many recipients in an hour, try again later")
	}
	return nil
}

// tooMany refuses a recipient who may get the message by itself. It is logged once for a message,
// since thousands may follow.
func (s *session) tooMany(to address, why string) error {
	if !s.told {
		s.told = true
		s.log.Info("recipient refused for now", "from", shorten(s.sender()), "to", shorten(to.String()),
			"reason", why, "accepted", len(s.to), "more", "not logged again for this message")
	}
	return errTooMany()
}

func errTooMany() error {
	return refusal(452, code3{4, 5, 3}, "Too many recipients, send the rest in another message")
}

// roomForAll reports whether the user's quota has room for several copies of the message. At RCPT,
// one of unknown size may be as large as the limit: only one reply follows it, and recipients who
// have room must not be refused because of one who has not, so that it is too late then.
func (s *session) roomForAll(u auth.User, size int64, copies int) bool {
	return s.srv.cfg.Room == nil || s.srv.cfg.Room(s.srv.conns.Work(), u, size, copies) == nil
}

// room returns an error if the user's quota has no room for the message, or if that cannot be
// determined. An alias is refused as a whole if one of its users has no room: there
// is no queue for his copy, and a reply that accepts the message for all of them would lose it.
func (s *session) room(t target) error {
	if s.srv.cfg.Room == nil {
		return nil
	}
	err := s.srv.cfg.Room(s.srv.conns.Work(), t.user, s.from.size, 1)
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
		return errNeverFits()
	}
	log.Error("mailbox cannot be read", "error", err)
	return tempFailure()
}

// copy returns the index of the copy that a target already has, or -1. A user who is named
// twice gets the message once. If he is named with two details he gets two copies, unless an
// alias leads to him.
func (s *session) copy(t target) int {
	for _, i := range s.copies[t.user.Name] {
		if other := &s.targets[i]; other.address == t.address || other.alias != "" || t.alias != "" {
			return i
		}
	}
	return -1
}

// addTargets adds targets that have no copy yet, and returns the indexes of all.
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

// nextID returns the identifier of a message in replies, in the log and in Received.
func (s *session) nextID() string {
	s.count++
	return s.peer.Session + "-" + strconv.Itoa(s.count)
}
