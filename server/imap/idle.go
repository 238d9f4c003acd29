package imap

import (
	"errors"
	"os"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/wire"
)

// idleExtension is IDLE.
func idleExtension() extension {
	return extension{
		early:    []imap.Cap{imap.CapIdle},
		commands: []command{{name: "IDLE", in: loggedIn, news: allNews, stuck: true, run: runIdle}},
	}
}

// runIdle is IDLE (RFC 9051 section 6.3.13). It reports changes of the selected mailbox at
// once, including those from before IDLE began. It tells the number of messages again if the answer
// to another command changed it: Thunderbird 153 takes no notice of EXISTS there, nor of what
// others removed, and would show that only when something else happens.
// A client that has deleted its selected mailbox may wait, too: aerc 0.14 goes from one into the
// other, and after a BYE in IDLE it writes the next command before DONE.
func runIdle(s *session) error {
	lx := s.lx
	if err := lx.End(); err != nil {
		return err
	}
	s.w.Raw("+ idling\r\n")
	if s.sel != nil && s.sel.aside {
		s.w.count(s.sel.view.Exists(), " EXISTS\r\n")
	}
	s.done.asked, s.done.mayLoseSelected = true, s.left()
	logout := time.Now().Add(s.srv.cfg.Timeouts.Idle)
	for !lx.Buffered() {
		if err := s.tellNow(allNews); err != nil {
			return err
		}
		if err := s.idle(logout); err != nil {
			return err
		}
	}
	return s.idleDone()
}

// idle waits for a change or for input from the client. It sends an untagged OK from time to
// time to keep a quiet connection alive.
func (s *session) idle(logout time.Time) error {
	for {
		next := time.Now().Add(s.srv.cfg.Timeouts.StillHere)
		if next.After(logout) {
			next = logout
		}
		err := s.await(next, wire.NewsMailbox|wire.NewsOthers)
		switch {
		case err == nil, errors.Is(err, wire.ErrWoken):
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !time.Now().Before(logout):
			return &connError{err}
		}
		if s.account.Moved() {
			return errMoved()
		}
		s.w.untagged("OK", "", "Still here")
		if err := s.w.Flush(); err != nil {
			return &connError{err}
		}
	}
}

// idleDone takes the line DONE.
func (s *session) idleDone() error {
	s.done.asked = false
	lx := s.lx
	lx.Next()
	if string(lx.Word()) != "DONE" {
		lx.Fail("Expected DONE.")
	}
	return lx.End()
}
