package imap

import (
	"strconv"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/mailbox"
)

// runAppend is APPEND (RFC 9051 section 6.3.12) with messages as literal and
// as literal8 (RFC 3516), and as UTF8 (~{n} ...) (RFC 9755). A message goes
// from the connection into a file of the mailbox's tmp/ and becomes mail when
// the command is complete.
func runAppend(s *session) error {
	lx := s.lx
	lx.sp()
	name := lx.mailbox()
	lx.sp()
	opt, err := s.appendOptions()
	if err != nil {
		return err
	}
	box, err := s.openDestination(name)
	if err != nil {
		return err
	}
	defer box.Release()
	in, err := s.receive(box, opt)
	if err != nil {
		return err
	}
	defer in.Abort()
	if err := lx.end(); err != nil {
		return err
	}
	validity, uids, err := box.Append(s.ctx, in)
	if err != nil {
		return err
	}
	s.done.code = appendUID(validity, uids)
	return nil
}

// appendOptions takes what comes before the octets of one message: flags,
// date, and what announces the literal. Nothing is asked for yet.
func (s *session) appendOptions() (opt appendOptions, err error) {
	lx := s.lx
	if lx.peek() == '(' {
		set := lx.flagList()
		opt.Flags, opt.Keywords = set.system, set.words
		lx.sp()
	}
	if lx.peek() == '"' {
		opt.Date = lx.dateTime()
		lx.sp()
	}
	if upper(lx.peek()) == 'U' {
		opt.utf8 = s.appendUTF8()
	}
	lit, ok := lx.literalHeader()
	if !ok {
		lx.fail("Expected a literal with the message.")
		return opt, lx.err
	}
	switch {
	case lit.size > s.srv.cfg.AppendLimit:
		err = no(imap.ResponseCodeTooBig, "A message may have %d octets.", s.srv.cfg.AppendLimit)
	case lit.size == 0:
		err = no(imap.ResponseCodeCannot, "A message of no octets cannot be saved.")
	}
	return opt, err
}

type appendOptions struct {
	mailbox.AppendOptions
	utf8 bool // the literal stands in UTF8 (...)
}

// appendUTF8 takes "UTF8 (" (RFC 9755 section 4).
func (s *session) appendUTF8() bool {
	lx := s.lx
	if word := lx.word(); string(word) != "UTF8" || !s.utf8 {
		lx.fail("Expected a literal with the message.")
	}
	lx.sp()
	lx.expect('(')
	if lx.peek() != '~' {
		lx.fail("Expected a literal8.")
	}
	return true
}

// receive takes the octets of a message into a new file.
func (s *session) receive(box *maildir.Mailbox, opt appendOptions) (*mailbox.Incoming, error) {
	in, err := box.NewIncoming(opt.AppendOptions)
	if err != nil {
		return nil, err
	}
	_, err = s.lx.streamLiteral().WriteTo(in)
	if opt.utf8 && err == nil {
		s.lx.expect(')')
		err = s.lx.err
	}
	if err != nil {
		in.Abort()
		return nil, err
	}
	return in, nil
}

// appendUID is the response code APPENDUID (RFC 9051 section 7.1).
func appendUID(validity uint32, uids []uint32) string {
	b := append(make([]byte, 0, 32), "APPENDUID "...)
	b = strconv.AppendUint(b, uint64(validity), 10)
	b = append(b, ' ')
	return string(appendSet(b, uids))
}
