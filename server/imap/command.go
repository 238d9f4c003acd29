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

// states are the states of a session (RFC 9051 section 3) that a command is
// allowed in.
type states uint8

const (
	notAuthenticated states = 1 << iota
	authenticated
	selected

	loggedIn = authenticated | selected
	always   = notAuthenticated | loggedIn
)

// news says what a command may tell of the selected mailbox when it is done.
type news uint8

const (
	noNews     news = iota // nothing: the mailbox is not looked at
	noExpunges             // all but EXPUNGE: the client counts with sequence numbers (RFC 9051 section 7.5.1)
	allNews
)

// command is one entry of the table.
type command struct {
	name string // in upper case; "UID X" for the variants with UIDs
	in   states
	news news
	// numbers says that messages are given, or returned, by sequence numbers.
	numbers bool
	// run takes the arguments up to lexer.end, then acts. It returns nil for OK;
	// see errors.go for everything else. It may set session.done before.
	run func(*session) error
}

// bySeq runs a command with sequence numbers that there is with UIDs too, byUID the
// other one.
func bySeq(run func(s *session, uid bool) error) func(*session) error {
	return func(s *session) error { return run(s, false) }
}

func byUID(run func(s *session, uid bool) error) func(*session) error {
	return func(s *session) error { return run(s, true) }
}

// done is the tagged response of the command that runs, if it is OK.
type done struct {
	code string // without brackets, "" for none
	text string // "" for the usual one
	// holdExpunges says that the command used sequence numbers after all.
	holdExpunges bool
	// tellAll says that all news of the selected mailbox are part of the answer,
	// whatever NOTIFY asked for.
	tellAll bool
	// tookAway says that the command may have taken the selected mailbox away
	// from its name: the session goes on until the next command.
	tookAway bool
	// then, if not nil, goes on when the response was written.
	then func() error
}

// serveCommand takes one command and answers it. An error ends the session.
func (s *session) serveCommand() error {
	lx := s.lx
	lx.Next()
	s.tag, s.done, s.told = s.tag[:0], done{}, time.Time{}
	cmd, err := s.readCommand()
	if err == nil {
		err = s.call(cmd)
	}
	return s.answer(cmd, err)
}

// maxTag is the longest tag that is sent back.
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

// call runs a command. A panic is answered and ends the session, and only it.
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
	return cmd.run(s)
}

// errMoved ends the session of a user whose Maildir is another one by now.
func errMoved() error {
	return bye("", "Your mailboxes were moved or replaced, please reconnect.")
}

// panicked counts and logs a panic. A deferred function calls it.
func (s *session) panicked(p any) { s.srv.panicked(s.log, p) }

func (srv *Server) panicked(log *slog.Logger, p any) {
	srv.panics.Add(1)
	log.Error("panic in a session, which is ended", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// answer skips what is left of a command that failed, tells what is new in the
// mailbox, and writes the tagged response. An error ends the session.
func (s *session) answer(cmd *command, err error) error {
	if s.w.Err() != nil {
		return &connError{s.w.Err()}
	}
	if err == nil {
		s.badRow = 0
		ended := s.tellNews(s.newsOf(cmd))
		s.highestAfter(true)
		s.writeStatus(s.tag, "OK", s.done.code, s.okText(cmd))
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
		s.badRow++
	} else {
		s.badRow = 0
		if cmd != nil {
			ended = s.tellNews(s.newsOf(cmd))
		}
	}
	s.highestAfter(false)
	s.writeStatus(s.tag, string(status.Type), string(status.Code), status.Text)
	if s.badRow >= badCommands {
		return bye("", "Too many bad commands.")
	}
	if s.fails >= loginFails {
		return bye("", "Too many failed logins.")
	}
	return ended
}

// newsOf says what may be told after a command.
func (s *session) newsOf(cmd *command) news {
	if s.done.holdExpunges {
		return min(cmd.news, noExpunges)
	}
	return cmd.news
}

// highestAfter corrects the client's HIGHESTMODSEQ before the tagged response,
// or in it.
func (s *session) highestAfter(tagged bool) {
	switch code := s.correctModSeq(); {
	case code == "":
	case tagged && s.done.code == "":
		s.done.code = code
	default:
		s.writeStatus(nil, "OK", code, "Highest mod-sequence.")
	}
}

func (s *session) okText(cmd *command) string {
	if s.done.text != "" {
		return s.done.text
	}
	return cmd.name + " completed."
}

// writeStatus writes a status response; without a tag it is an untagged one.
func (s *session) writeStatus(tag []byte, status, code, text string) {
	w := s.w
	if len(tag) == 0 {
		w.Byte('*')
	} else {
		w.RawBytes(tag)
	}
	w.SP()
	w.Raw(status)
	w.SP()
	if code != "" {
		w.Byte('[')
		w.Raw(code)
		w.Raw("] ")
	}
	w.Raw(printable(text))
	w.CRLF()
}

// printable makes sure that a text for people fits on a line. Errors of lower
// layers may quote what a client or a file name brought.
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
