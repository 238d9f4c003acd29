package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox"
)

// omissions collects the reasons why a command was not completed for all messages, while it
// continues with the others (RFC 2180 section 4.1.2).
type omissions struct {
	gone    bool // files of messages are gone
	unread  bool // files of messages cannot be read
	big     bool // texts are too long for IMAP4rev1
	decoded bool // parts have an unknown transfer encoding
}

// noteOmission notes that a message could not be served. It logs the reason, unless the
// message was just removed, and only once for all that are on a disk that does not respond.
func (s *session) noteOmission(l *omissions, m mailbox.Message, err error) {
	switch {
	case errors.Is(err, mailbox.ErrGone), errors.Is(err, mailbox.ErrReplaced):
		l.gone = true
		return
	case endsSession(err), errors.Is(err, errStopped):
		return // the command fails with this error
	}
	again := l.unread && errors.Is(err, dirfd.ErrNoAnswer)
	l.unread = true
	if again {
		return
	}
	s.log.Warn("message cannot be read", "mailbox", s.sel.name, "uid", m.UID, "error", err)
}

// result returns the error of the command.
func (l omissions) result() error {
	switch {
	case l.decoded:
		return no(imap.ResponseCodeUnknownCTE, "Some parts have an unknown transfer encoding: fetch them with BODY instead of BINARY.")
	case l.big:
		return no(imap.ResponseCodeLimit, "Some texts are 4 GiB or longer, which only IMAP4rev2 can transfer at once: fetch parts of them, or ENABLE IMAP4rev2.")
	case l.unread:
		return no(imap.ResponseCodeUnavailable, "Some of the messages cannot be read; see the server log.")
	case l.gone:
		return mailbox.ErrGone
	}
	return nil
}
