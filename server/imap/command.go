package imap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// states is a set of session states (RFC 9051 section 3).
type states uint8

const (
	notAuthenticated states = 1 << iota
	authenticated
	selected

	loggedIn = authenticated | selected
	always   = notAuthenticated | loggedIn
)

// news says which changes of the selected mailbox a command may report when it is done.
type news uint8

const (
	noNews     news = iota // nothing: the mailbox is not polled
	noExpunges             // all but EXPUNGE: the command used sequence numbers (RFC 9051 section 7.5.1)
	allNews
)

// command is an entry of the command table.
type command struct {
	name string // in upper case; "UID X" for the variants with UIDs
	in   states
	news news
	// numbers: the command takes or returns sequence numbers, which UIDONLY forbids.
	numbers bool
	// stuck: the command does what it can without the disk while that does not respond.
	stuck bool
	// run takes the arguments, including the end of the line, then acts. It returns nil
	// for OK; errors.go describes the errors. Before it returns nil it may set
	// session.done.
	run func(*session) error
}

// bySeq and byUID make the handlers of a command that exists with sequence numbers and,
// as "UID X", with UIDs.
func bySeq(run func(s *session, uid bool) error) func(*session) error {
	return func(s *session) error { return run(s, false) }
}

func byUID(run func(s *session, uid bool) error) func(*session) error {
	return func(s *session) error { return run(s, true) }
}

// done is the tagged response of the current command, if it succeeds.
type done struct {
	code string // without brackets; "" for none
	text string // "" for the default text
	// holdExpunges: the command turned out to use sequence numbers, so EXPUNGE must
	// wait.
	holdExpunges bool
	// tellAll: all changes of the selected mailbox are part of the response, whatever
	// NOTIFY asked for.
	tellAll bool
	// asked: the command asks for news.
	asked bool
	// mayLoseSelected: it does not end the session that its mailbox is gone.
	mayLoseSelected bool
	// then, if not nil, is called after the tagged response was written.
	then func() error
}

// serveCommand reads one command and answers it. An error ends the session.
func (s *session) serveCommand() error {
	lx := s.lx
	lx.Next()
	s.tag, s.done, s.progressAt = s.tag[:0], done{}, time.Time{}
	cmd, err := s.readCommand()
	if err == nil {
		err = s.call(cmd)
	}
	return s.answer(cmd, err)
}

// maxTag is the longest tag that is accepted, in octets.
const maxTag = 256

// readCommand takes the tag and the name of a command.
func (s *session) readCommand() (*command, error) {
	lx := s.lx
	tag := lx.Tag()
	if len(tag) > maxTag {
		return nil, bad("Tag is too long.")
	}
	if lx.Peek() != ' ' {
		lx.Fail("Expected a tag and a command.")
		return nil, lx.Err()
	}
	s.tag = append(s.tag, tag...)
	lx.SP()
	name := lx.Word()
	if lx.Err() != nil {
		return nil, lx.Err()
	}
	cmd := s.srv.grammar.commands[string(name)]
	if string(name) == "UID" {
		lx.SP()
		sub := lx.Word()
		if lx.Err() != nil {
			return nil, lx.Err()
		}
		cmd = s.srv.grammar.commands["UID "+string(sub)]
	}
	if cmd == nil {
		return nil, bad("Unknown command.")
	}
	if cmd.in&s.state() == 0 {
		return nil, s.wrongState(cmd)
	}
	if cmd.numbers && s.uidOnly {
		return cmd, errUIDRequired()
	}
	return cmd, nil
}

func (s *session) wrongState(cmd *command) error {
	switch {
	case cmd.in&notAuthenticated != 0:
		return bad("%s is not allowed after login.", cmd.name)
	case s.state() == notAuthenticated:
		return bad("Please log in first.")
	}
	return bad("No mailbox is selected.")
}

// call runs a command. A panic is logged, reported to the client, and ends this session
// only.
func (s *session) call(cmd *command) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(p)
			err = bye(imap.ResponseCodeServerBug, "Internal error; see the server log.")
		}
	}()
	if s.granted.Revoked() {
		return errRevoked()
	}
	if s.account != nil && s.account.Moved() {
		return errMoved()
	}
	if cmd.in&notAuthenticated == 0 && !cmd.stuck && s.account.Stuck() {
		return errNoAnswer // rather than wait for another command on the same mailbox that waits for the disk
	}
	before := s.sel
	err = cmd.run(s)
	for _, sel := range []*selection{before, s.sel} { // SELECT leaves one and opens another
		if err == nil && sel != nil && sel.box.Broken() && !s.logout {
			err = errBroken() // it may not have told of all messages, or done it with all
		}
	}
	return err
}

// errBroken ends the session because a part of what the cache had of a mailbox could not be
// read. A NO would be false if the command has selected another mailbox.
func errBroken() error {
	err, _ := statusOf(mailbox.ErrReplaced)
	return err
}

// errMoved ends the session of a user whose Maildir has been moved or replaced.
func errMoved() error {
	return bye("", "Your mailboxes were moved or replaced, please reconnect.")
}

// panicked logs a panic. It must be called from a deferred function, for the
// stack trace.
func (s *session) panicked(p any) { s.srv.panicked(s.log, p) }

func (srv *Server) panicked(log *slog.Logger, p any) {
	log.Error("panic in a session, which is ended", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// answer skips the rest of a command that failed, reports what is new in the mailbox,
// and writes the tagged response. An error ends the session.
func (s *session) answer(cmd *command, err error) error {
	if s.w.Err() != nil {
		return &connError{s.w.Err()}
	}
	s.done.mayLoseSelected = cmd != nil && cmd.in == loggedIn && s.left()
	if err == nil {
		s.badStreak = 0
		ended := s.tellNews(s.newsOf(cmd))
		s.highestAfter(true)
		s.w.status(s.tag, "OK", s.done.code, s.okText(cmd))
		if s.done.then != nil {
			return s.done.then()
		}
		return ended
	}
	if errors.Is(err, context.Canceled) {
		if ended := s.interrupted(); ended != nil {
			err = ended
		}
	}
	if isConnError(err) {
		return err
	}
	if errors.Is(err, mailbox.ErrReplaced) && (s.sel == nil || !s.sel.box.Replaced()) {
		err = no(imap.ResponseCodeNonExistent, "Mailbox has just been removed or replaced.")
	}
	status, known := statusOf(err)
	if !known || fromSystem(err) {
		s.log.Error("command failed", "command", cmd.name, "error", err)
	}
	if status.Type == imap.StatusResponseTypeBye {
		return status
	}
	if err := s.lx.Skip(); err != nil {
		return err
	}
	var ended error
	if status.Type == imap.StatusResponseTypeBad {
		s.badStreak++
	} else {
		s.badStreak = 0
		if cmd != nil {
			ended = s.tellNews(s.newsOf(cmd))
		}
	}
	s.highestAfter(false)
	s.w.status(s.tag, string(status.Type), string(status.Code), status.Text)
	if s.badStreak >= maxBadCommands {
		return bye("", "Too many bad commands.")
	}
	if s.failedLogins >= maxFailedLogins {
		return bye("", "Too many failed logins.")
	}
	return ended
}

// newsOf returns what may be reported after a command.
func (s *session) newsOf(cmd *command) news {
	if s.done.holdExpunges {
		return min(cmd.news, noExpunges)
	}
	return cmd.news
}

// highestAfter corrects the client's HIGHESTMODSEQ in the tagged response, or before
// it.
func (s *session) highestAfter(tagged bool) {
	switch code := s.correctModSeq(); {
	case code == "":
	case tagged && s.done.code == "":
		s.done.code = code
	default:
		s.w.untagged("OK", code, "Highest mod-sequence.")
	}
}

func (s *session) okText(cmd *command) string {
	if s.done.text != "" {
		return s.done.text
	}
	return cmd.name + " completed."
}

// untagged writes an untagged status response.
func (w *writer) untagged(kind, code, text string) { w.status(nil, kind, code, text) }

// status writes a status response; without a tag, an untagged one.
func (w *writer) status(tag []byte, kind, code, text string) {
	if len(tag) == 0 {
		w.Byte('*')
	} else {
		w.RawBytes(tag)
	}
	w.SP()
	w.Raw(kind)
	w.SP()
	if code != "" {
		w.Byte('[')
		w.Raw(code)
		w.Raw("] ")
	}
	w.Raw(printable(text))
	w.CRLF()
}

// printable replaces what may not stand in the text of a response. Errors of lower
// layers may quote input of a client or the name of a file.
func printable(text string) string {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] >= 0x7f {
			b := []byte(text)
			for ; i < len(b); i++ {
				if b[i] < ' ' || b[i] >= 0x7f {
					b[i] = '?'
				}
			}
			return string(b)
		}
	}
	return text
}
