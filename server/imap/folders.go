package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

// folderExtension is the commands that make, change and subscribe to mailboxes.
func folderExtension() extension {
	return extension{commands: []command{
		{name: "CREATE", in: loggedIn, news: allNews, run: runCreate},
		{name: "DELETE", in: loggedIn, news: allNews, run: runDelete},
		{name: "RENAME", in: loggedIn, news: allNews, run: runRename},
		{name: "SUBSCRIBE", in: loggedIn, news: allNews, run: runSubscribe},
		{name: "UNSUBSCRIBE", in: loggedIn, news: allNews, run: runUnsubscribe},
	}}
}

// mailboxArgument takes the one argument of a command, a mailbox.
func (s *session) mailboxArgument() (string, error) {
	s.lx.SP()
	name := s.lx.Mailbox()
	return name, s.lx.End()
}

// createRequest is the arguments of CREATE.
type createRequest struct {
	name string
	uses []string // special uses that the mailbox is to have
}

// runCreate is CREATE (RFC 9051 section 6.3.4) with parameters (RFC 4466).
func runCreate(s *session) error {
	lx := s.lx
	lx.SP()
	req := createRequest{name: lx.Mailbox()}
	if lx.More() {
		lx.OptionalList(lx.grammar.createParams.once(lx, &req, "parameter"))
	}
	if err := lx.End(); err != nil {
		return err
	}
	if err := newName(req.name); err != nil {
		return err
	}
	s.ownTreeChange(req.name)
	ctx, done := s.whileThere()
	defer done()
	if err := s.account.Create(ctx, req.name, req.uses); err != nil {
		return err
	}
	s.tellName(req.name, req.name)
	for _, more := range s.srv.grammar.created {
		err := more(s, req.name)
		if errors.Is(err, mailbox.ErrReplaced) || errors.Is(err, folder.ErrNotFound) {
			continue // somebody else removed it already
		}
		if err != nil {
			// The mailbox is there, so the answer is OK.
			s.log.Warn("new mailbox cannot be read", "mailbox", req.name, "error", err)
		}
	}
	return nil
}

// newName refuses the characters that a mailbox must not get in its name (RFC
// 9755 section 3): controls, and the separators of lines and paragraphs. Those
// of US-ASCII are refused for all names.
func newName(name string) error {
	for _, r := range name {
		if r >= 0x80 && r <= 0x9f || r == '\u2028' || r == '\u2029' {
			return no(imap.ResponseCodeCannot, "Mailbox name has a control character.")
		}
	}
	return nil
}

// runDelete is DELETE (RFC 9051 section 6.3.5). Sessions that have the mailbox
// selected learn by BYE that it is gone: others at once, this one with its
// next command, unless that selects another one. A BYE right behind the OK would
// be taken for a failure of the command by some clients.
func runDelete(s *session) error {
	given, err := s.mailboxArgument()
	if err != nil {
		return err
	}
	name, err := s.account.Tree().Canonical(given)
	if err != nil {
		return err
	}
	s.ownTreeChange(name)
	ctx, done := s.whileThere()
	defer done()
	if err := s.account.Delete(ctx, name); errors.Is(err, folder.ErrLeftover) {
		s.log.Warn("files of a deleted mailbox are left", "mailbox", name, "error", err)
	} else if err != nil {
		return err
	}
	s.done.tookAway = true
	s.tellName(given, name, imap.MailboxAttrNonExistent)
	return nil
}

// runRename is RENAME (RFC 9051 section 6.3.6). As for DELETE, this session
// goes on.
func runRename(s *session) error {
	lx := s.lx
	lx.SP()
	from := lx.Mailbox()
	lx.SP()
	to := lx.Mailbox()
	if err := lx.End(); err != nil {
		return err
	}
	if err := newName(to); err != nil {
		return err
	}
	from, err := s.account.Tree().Canonical(from)
	if err != nil {
		return err
	}
	s.ownTreeChange(from, to)
	ctx, done := s.whileThere()
	defer done()
	if from == "INBOX" { // whose messages are moved, to the last one
		ctx = s.ctx
	}
	if err := s.account.Rename(ctx, from, to); err != nil {
		return err
	}
	s.done.tookAway = true
	if from != "INBOX" { // which is still there
		s.tellName(from, to)
	}
	s.tellName(to, to)
	return nil
}

// tellName tells a client of IMAP4rev2 what a mailbox is called that it called
// otherwise, or that was called otherwise (RFC 9051 section 6.3.9.7).
func (s *session) tellName(given, name string, attrs ...imap.MailboxAttr) {
	name, err := s.account.Tree().Canonical(name)
	if err != nil || !s.rev2 || given == name {
		return
	}
	s.listResponse(attrs, name)
	s.oldName(given)
	s.w.CRLF()
}

// oldName writes the extended data item OLDNAME of a LIST response.
func (s *session) oldName(name string) {
	s.w.Raw(` ("OLDNAME" (`)
	s.w.Mailbox(name)
	s.w.Raw("))")
}

// runSubscribe is SUBSCRIBE (RFC 9051 section 6.3.7). As in Dovecot there must
// be such a mailbox.
func runSubscribe(s *session) error {
	name, err := s.mailboxArgument()
	if err != nil {
		return err
	}
	tree := s.account.Tree()
	dir, err := tree.OpenDir(name)
	if err != nil {
		return err
	}
	_ = dir.Close()
	s.ownTreeChange(name)
	ctx, done := s.whileThere()
	defer done()
	return s.account.SetSubscribed(ctx, name, true)
}

// runUnsubscribe is UNSUBSCRIBE (RFC 9051 section 6.3.8).
func runUnsubscribe(s *session) error {
	name, err := s.mailboxArgument()
	if err != nil {
		return err
	}
	s.ownTreeChange(name)
	ctx, done := s.whileThere()
	defer done()
	return s.account.SetSubscribed(ctx, name, false)
}
