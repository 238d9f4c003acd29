package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

// inProgressExtension is INPROGRESS (RFC 9585): who waits for a long command
// is told now and then how far it is.
func inProgressExtension() extension { return extension{caps: []imap.Cap{"INPROGRESS"}} }

// working is for loops that may take long, between two responses: it returns
// an error if there is no use in going on, and tells the client at times that
// n of goal are done.
func (s *session) working(n, goal int) error {
	now := time.Now()
	if err := s.interruptedAt(now); err != nil {
		return err
	}
	switch {
	case s.told.IsZero():
		s.told = now
	case now.Sub(s.told) >= s.srv.cfg.Timeouts.Progress && n < goal:
		s.told = now
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
