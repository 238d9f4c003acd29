package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

// inProgressExtension is INPROGRESS (RFC 9585): a client that waits for a long command is
// told about its progress.
func inProgressExtension() extension { return extension{caps: []imap.Cap{"INPROGRESS"}} }

// working is called by loops that may take long, between two responses. It returns an error if
// the command should stop, and from time to time tells the client that n of goal are done.
func (s *session) working(n, goal int) error {
	now := time.Now()
	if err := s.interruptedAt(now); err != nil {
		return err
	}
	switch {
	case s.progressAt.IsZero():
		s.progressAt = now
	case now.Sub(s.progressAt) >= s.srv.cfg.Timeouts.Progress && n < goal:
		s.progressAt = now
		w := s.w
		w.Raw(`* OK [INPROGRESS (`)
		w.Str(string(s.tag))
		w.SP()
		w.Number(uint64(n))
		w.SP()
		w.Number(uint64(goal))
		w.Raw(")] Still working.\r\n")
		if err := w.Flush(); err != nil {
			return &connError{err}
		}
	}
	return nil
}
