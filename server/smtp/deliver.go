package smtp

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"maildird/maildir/delivery"
)

// message is a message that is being received and passed on to disk, to the relay, or both.
type message struct {
	s        *session
	id       string
	spool    *delivery.Spool // nil once refused, and if no recipient is local
	relaying *relaying       // nil once refused, and if all recipients are local
	refused  *smtp.SMTPError // why the message is refused; the rest of it is discarded
	top      firstLine       // checks the first line; not used by Submission
	head     headerScan
	edit     *headerEdit // checks and completes the header; nil unless Submission
}

// begin creates the message of the transaction.
func (s *session) begin() *message {
	m := &message{s: s, id: s.nextID()}
	received, now := s.received(m.id), date(s.srv.cfg.Now())
	targets := make([]delivery.Target, len(s.targets))
	for i, t := range s.targets {
		targets[i] = delivery.Target{
			Header: s.trace(received, t, now),
			Open:   func() (delivery.Dirs, func(), error) { return s.open(t) },
		}
	}
	if len(targets) > 0 {
		m.spool = delivery.NewSpool(targets, s.srv.kind == LMTP, s.srv.cfg.Delivery)
	}
	if s.srv.kind == LMTP && slices.ContainsFunc(s.to, func(to accepted) bool { return to.alias }) {
		for _, to := range s.to { // each has one reply for all targets
			m.spool.Group(to.targets...)
		}
	}
	if s.relaying.any() {
		m.relaying = s.relaying
		m.relaying.trace = s.relayTrace(received, now)
	}
	if s.srv.kind == Submission {
		m.edit = &headerEdit{s: s, id: m.id}
	}
	return m
}

// open opens the folder that the copy of a target goes to. It may be called by
// other goroutines.
func (s *session) open(t target) (dirs delivery.Dirs, release func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic while a mailbox was opened", "user", t.user.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	dirs, release, err = s.srv.cfg.Open(s.srv.conns.Work(), t.user)
	if err != nil {
		return dirs, release, err
	}
	if err := dirs.Reserved(s.srv.cfg.Reserve, s.from.size); err != nil {
		release()
		return delivery.Dirs{}, nil, err
	}
	return dirs, release, nil
}

// refuse discards the message. Only the first reason counts.
func (m *message) refuse(why *smtp.SMTPError) {
	if m.refused == nil {
		m.refused = why
		m.abort()
	}
}

// abort drops the message without leaving anything on disk.
func (m *message) abort() {
	if m.spool != nil {
		m.spool.Abort()
		m.spool = nil
	}
	m.relaying.close()
	m.relaying = nil
}

// size returns the number of bytes received so far, without the trace fields.
func (m *message) size() int64 {
	switch {
	case m.spool != nil:
		return m.spool.Size()
	case m.relaying != nil:
		return m.relaying.size
	}
	return 0
}

// write takes a piece of text with LF line ends.
func (m *message) write(text []byte) {
	if m.edit == nil {
		text = m.top.take(text)
	}
	m.pass(text)
}

// pass passes on text after the first line was checked.
func (m *message) pass(text []byte) {
	if m.refused != nil {
		return
	}
	if !m.head.done {
		m.head.scan(text)
		l := &m.s.srv.cfg.Limits
		switch {
		case m.head.received > l.Received:
			m.refuse(refusal(554, code3{5, 4, 6}, "Mail loop, message has passed through more than %d servers", l.Received))
			return
		case m.head.lines > l.HeaderLines:
			m.refuse(refusal(554, code3{5, 6, 0}, "Message header has more than %d lines", l.HeaderLines))
			return
		}
	}
	if m.edit != nil {
		m.editHeader(text)
		return
	}
	m.store(text)
}

// store writes text to the disk and to the relay.
func (m *message) store(text []byte) {
	if m.refused != nil {
		return
	}
	if m.spool != nil {
		_, _ = m.spool.Write(text) // finish reports the error
	}
	if m.relaying != nil {
		if err := m.relaying.write(text); err != nil {
			m.refuse(err)
		}
	}
}

func (m *message) logRefused() {
	s := m.s
	s.log.Info("message refused", "id", m.id, "from", s.sender(), "to", s.recipientList(), "reply", asLine(m.refused))
}

// result is the outcome for a recipient.
type result struct {
	to      string
	refusal *smtp.SMTPError // nil if the message is stored durably
}

// finish completes the message and returns a result for each recipient. Except with LMTP,
// all results are equal.
func (m *message) finish() []result {
	s := m.s
	switch {
	case m.refused != nil:
	case m.edit != nil:
		m.endHeader()
	default:
		m.pass(m.top.end())
	}
	m.checkCopies()
	var size int64
	var errs []error
	if m.refused == nil {
		size, errs = m.size(), m.commit()
	}
	results := make([]result, len(s.to))
	if m.refused != nil {
		m.logRefused()
		for i, to := range s.to {
			results[i] = result{to.text, m.refused}
		}
		return results
	}
	refusals := m.refusals(errs)
	m.logStored(refusals, size)
	for i, to := range s.to {
		results[i].to = to.text
		if to.targets == nil { // relayed: all recipients have the same result
			results[i].refusal = refusals[0]
		}
		for _, n := range to.targets {
			if results[i].refusal == nil {
				results[i].refusal = refusals[n]
			}
		}
	}
	return results
}

// checkCopies refuses a message that is larger than its client declared, unless there is room for
// all copies for one user: at RCPT, only what was declared counted. With LMTP, each copy is checked
// when it is stored.
func (m *message) checkCopies() {
	s := m.s
	if s.srv.kind == LMTP || s.from.size == 0 || m.size() <= s.from.size {
		return
	}
	for _, copies := range s.copies {
		if u := s.targets[copies[0]].user; len(copies) > 1 && !s.roomForAll(u, m.size(), len(copies)) {
			m.refuse(errMailboxFull())
			return
		}
	}
}

// refusals logs the errors of commit and returns the reply for each target, nil for none.
func (m *message) refusals(errs []error) []*smtp.SMTPError {
	s := m.s
	refusals := make([]*smtp.SMTPError, len(errs))
	for i, err := range errs {
		if err == nil {
			continue
		}
		refusals[i] = refusalOfStorage(err)
		if i == 0 || s.srv.kind == LMTP && !errors.Is(err, delivery.ErrGroup) {
			level := slog.LevelError
			if c := delivery.CauseOf(err); c == delivery.OverQuota || c == delivery.TooBig { // the operator need not do anything
				level = slog.LevelInfo
			}
			at, to := s.targets[i], s.targets[i:i+1]
			if s.srv.kind != LMTP { // one Maildir keeps all from getting it
				to = s.targets
				if one := (*delivery.TargetError)(nil); errors.As(err, &one) {
					at = s.targets[one.Target]
				}
			}
			s.log.Log(s.srv.conns.Work(), level, "message cannot be stored", "id", m.id, "from", s.sender(), "to", list(addressesOf(to)), "user", at.user.Name, "error", err)
		}
	}
	return refusals
}

// logStored logs for which targets the message is stored, if there are any.
func (m *message) logStored(refusals []*smtp.SMTPError, size int64) {
	s := m.s
	var stored, aliases []string
	for n, t := range s.targets {
		if refusals[n] == nil {
			stored = append(stored, t.address)
		}
	}
	if len(stored) == 0 {
		return
	}
	for _, to := range s.to {
		if to.alias && !slices.ContainsFunc(to.targets, func(n int) bool { return refusals[n] != nil }) {
			aliases = append(aliases, to.text)
		}
	}
	attrs := []slog.Attr{slog.String("id", m.id), slog.String("from", s.sender()), slog.String("to", list(stored))}
	if len(aliases) > 0 {
		attrs = append(attrs, slog.String("orig_to", list(aliases)))
	}
	attrs = append(attrs, slog.String("message_id", m.head.messageID), slog.Int64("size", size))
	s.log.LogAttrs(s.srv.conns.Work(), slog.LevelInfo, "message stored", attrs...)
}

// commit stores the message and passes it to the relay. If the relay refuses it, it is refused
// and not stored. There is an error for each target, or a single one if there are no targets.
func (m *message) commit() []error {
	defer func() { m.spool, m.relaying = nil, nil }()
	if m.relaying == nil {
		return m.spool.Commit()
	}
	relay := func() error {
		if r := m.relaying.commit(m); r != nil {
			m.refused = r
			return r
		}
		return nil
	}
	if m.spool == nil {
		return []error{relay()}
	}
	return m.spool.CommitAfter(relay)
}

// refusalOfStorage returns the reply to an error of storage. All but one of these errors are
// temporary, because they can be repaired. Their text is only logged.
func refusalOfStorage(err error) *smtp.SMTPError {
	switch delivery.CauseOf(err) {
	case delivery.NoSpace:
		return errNoSpace()
	case delivery.OverQuota:
		return errMailboxFull()
	case delivery.TooBig:
		return errNeverFits()
	}
	return tempFailure()
}

// errNeverFits is permanent, because a sender who keeps trying for days learns about it
// too late. RFC 3463 section 3.3 has X.2.3 for a limit of the mailbox that is below
// that of the server.
func errNeverFits() *smtp.SMTPError {
	return refusal(552, code3{5, 2, 3}, "Message is larger than the quota of this mailbox")
}

func errMailboxFull() *smtp.SMTPError {
	return refusal(452, code3{4, 2, 2}, "Mailbox is full, try again later")
}

func errNoSpace() *smtp.SMTPError {
	return refusal(452, code3{4, 3, 1}, "Not enough free space, try again later")
}

// recipientList returns the recipients for the log.
func (s *session) recipientList() string {
	all := addressesOf(s.targets)
	if s.relaying != nil {
		all = append(all, s.relaying.to...)
	}
	return list(all)
}

func addressesOf(targets []target) []string {
	all := make([]string, len(targets))
	for i, t := range targets {
		all[i] = t.address
	}
	return all
}

// list returns the first few addresses, and the number of the others.
func list(addresses []string) string {
	const most = 5
	if len(addresses) <= most {
		return strings.Join(addresses, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(addresses[:most], " "), len(addresses)-most)
}
