package imap

import "github.com/emersion/go-imap/v2"

// expungeExtension is EXPUNGE, and UID EXPUNGE of UIDPLUS (RFC 4315).
func expungeExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapUIDPlus},
		commands: []command{
			{name: "EXPUNGE", in: selected, news: allNews, run: runExpunge},
			{name: "UID EXPUNGE", in: selected, news: allNews, run: runUIDExpunge},
		},
	}
}

// runExpunge is EXPUNGE (RFC 9051 section 6.4.3). The dispatcher writes the untagged responses.
func runExpunge(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	s.done.tellAll = true
	_, err := s.sel.view.Expunge(s.ctx, nil)
	return err
}

// runUIDExpunge is UID EXPUNGE (RFC 9051 section 6.4.9, from RFC 4315).
func runUIDExpunge(s *session) error {
	s.lx.SP()
	set := s.lx.NumSet()
	if err := s.lx.End(); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	uids, err := s.uids(set, true)
	if err != nil || len(uids) == 0 {
		return err
	}
	s.done.tellAll = true
	_, err = s.sel.view.Expunge(s.ctx, uids)
	return err
}
