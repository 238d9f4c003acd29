package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

// folderExtension is the commands that create, change and subscribe to mailboxes.
func folderExtension() extension {
	return extension{commands: []command{
		{name: "CREATE", in: loggedIn, news: allNews, run: runCreate},
		{name: "DELETE", in: loggedIn, news: allNews, run: runDelete},
		{name: "RENAME", in: loggedIn, news: allNews, run: runRename},
		{name: "SUBSCRIBE", in: loggedIn, news: allNews, run: runSubscribe},
		{name: "UNSUBSCRIBE", in: loggedIn, news: allNews, run: runUnsubscribe},
	}}
}

// mailboxArgument takes the arguments of a command whose only argument is a mailbox.
func (lx *lexer) mailboxArgument() (string, error) {
	lx.SP()
	name := lx.Mailbox()
	return name, lx.End()
}

// existing returns the canonical name of a mailbox, or an error if it does not exist.
func (s *session) existing(name string) (string, error) {
	tree := s.account.Tree()
	name, err := tree.Canonical(name)
	if err != nil {
		return "", err
	}
	dir, err := tree.OpenDir(name)
	if err != nil {
		return "", err
	}
	return name, dir.Close()
}

// createRequest is the arguments of CREATE.
type createRequest struct {
	name string
	uses []string // special uses of the new mailbox
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
	ctx, done := s.waitContext()
	defer done()
	if err := s.account.Create(ctx, req.name, req.uses); err != nil {
		return err
	}
	s.tellName(req.name, req.name)
	for _, more := range s.srv.grammar.created {
		err := more(s, req.name)
		if errors.Is(err, mailbox.ErrReplaced) || errors.Is(err, folder.ErrNotFound) {
			continue // another program has already removed it
		}
		if err != nil {
			// The mailbox was created, so the response is OK.
			s.log.Warn("new mailbox cannot be read", "mailbox", req.name, "error", err)
		}
	}
	return nil
}

// newName refuses characters that a new mailbox name must not contain (RFC 9755 section
// 3): controls, and the separators of lines and paragraphs. US-ASCII controls are refused
// for all names elsewhere.
func newName(name string) error {
	for _, r := range name {
		if r >= 0x80 && r <= 0x9f || r == '\u2028' || r == '\u2029' {
			return no(imap.ResponseCodeCannot, "Mailbox name has a control character.")
		}
	}
	return nil
}

// runDelete is DELETE (RFC 9051 section 6.3.5). Sessions that have the mailbox selected get
// BYE: other sessions at once, this one with its next command that needs the mailbox. Some
// clients would take a BYE right after the OK for a failure of DELETE.
func runDelete(s *session) error {
	given, err := s.lx.mailboxArgument()
	if err != nil {
		return err
	}
	name, err := s.account.Tree().Canonical(given)
	if err != nil {
		return err
	}
	s.ownTreeChange(name)
	ctx, done := s.waitContext()
	defer done()
	if err := s.account.Delete(ctx, name); errors.Is(err, folder.ErrLeftover) {
		s.log.Warn("files of a deleted mailbox are left", "mailbox", name, "error", err)
	} else if err != nil {
		return err
	}
	s.mayBeGone()
	s.tellName(given, name, imap.MailboxAttrNonExistent)
	return nil
}

// runRename is RENAME (RFC 9051 section 6.3.6). As after DELETE, this session may continue.
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
	ctx, done := s.waitContext()
	defer done()
	if from == "INBOX" { // all its messages are moved, even if the client goes away
		ctx = s.ctx
	}
	if err := s.account.Rename(ctx, from, to); err != nil {
		return err
	}
	s.mayBeGone()
	if from != "INBOX" { // INBOX still exists
		s.tellName(from, to)
	}
	s.tellName(to, to)
	return nil
}

// tellName reports the canonical name of a mailbox to an IMAP4rev2 client that used another
// name, and the new name of a renamed one (RFC 9051 section 6.3.9.7).
func (s *session) tellName(given, name string, attrs ...imap.MailboxAttr) {
	name, err := s.account.Tree().Canonical(name)
	if err != nil || !s.rev2 || given == name {
		return
	}
	s.listResponse(attrs, name)
	s.w.oldName(given)
	s.w.CRLF()
}

// oldName writes the extended data item OLDNAME of a LIST response.
func (w *writer) oldName(name string) {
	w.Raw(` ("OLDNAME" (`)
	w.Mailbox(name)
	w.Raw("))")
}

// runSubscribe is SUBSCRIBE (RFC 9051 section 6.3.7). As in Dovecot, the mailbox must exist.
func runSubscribe(s *session) error {
	name, err := s.lx.mailboxArgument()
	if err != nil {
		return err
	}
	if _, err := s.existing(name); err != nil {
		return err
	}
	s.ownTreeChange(name)
	ctx, done := s.waitContext()
	defer done()
	return s.account.SetSubscribed(ctx, name, true)
}

// runUnsubscribe is UNSUBSCRIBE (RFC 9051 section 6.3.8).
func runUnsubscribe(s *session) error {
	name, err := s.lx.mailboxArgument()
	if err != nil {
		return err
	}
	s.ownTreeChange(name)
	ctx, done := s.waitContext()
	defer done()
	return s.account.SetSubscribed(ctx, name, false)
}
