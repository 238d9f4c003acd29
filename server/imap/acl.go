package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
)

// ownRights are the rights of every user to his own mailboxes, in the order of RFC 4314
// section 2.1, with c and d, which section 2.1.1 keeps for older clients. INBOX has x, as in
// Dovecot: it cannot be deleted, but x is also for "old mailbox name in RENAME", and Balsa 2.6
// takes a mailbox without x for read-only.
const ownRights = "lrswipkxteacd"

// aclExtension is ACL (RFC 4314) for accounts whose owner has all rights and cannot grant any,
// and LIST-MYRIGHTS (RFC 8440).
func aclExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapACL, "RIGHTS=kxte", "LIST-MYRIGHTS"},
		commands: []command{
			{name: "MYRIGHTS", in: loggedIn, news: allNews, run: runMyRights},
			{name: "GETACL", in: loggedIn, news: allNews, run: runGetACL},
			{name: "LISTRIGHTS", in: loggedIn, news: allNews, run: runListRights},
			{name: "SETACL", in: loggedIn, news: allNews, run: runSetACL},
			{name: "DELETEACL", in: loggedIn, news: allNews, run: runDeleteACL},
		},
		listReturn: words[listCommand]{"MYRIGHTS": func(_ *lexer, cmd *listCommand) {
			cmd.each = append(cmd.each, func(s *session, e *folder.Entry) error {
				if !e.NonExistent {
					s.w.myRights(e.Name)
				}
				return nil
			})
		}},
	}
}

// existingArgument takes the last argument of a command, the name of a mailbox that exists.
func (s *session) existingArgument() (string, error) {
	name, err := s.lx.mailboxArgument()
	if err != nil {
		return "", err
	}
	return s.existing(name)
}

// runMyRights is MYRIGHTS (RFC 4314 section 3.5).
func runMyRights(s *session) error {
	name, err := s.existingArgument()
	if err != nil {
		return err
	}
	s.w.myRights(name)
	return nil
}

// myRights writes a MYRIGHTS response.
func (w *writer) myRights(name string) {
	w.Raw("* MYRIGHTS ")
	w.Mailbox(name)
	w.SP()
	w.Raw(ownRights)
	w.CRLF()
}

// runGetACL is GETACL (RFC 4314 section 3.3).
func runGetACL(s *session) error {
	name, err := s.existingArgument()
	if err != nil {
		return err
	}
	s.w.Raw("* ACL ")
	s.w.Mailbox(name)
	s.w.SP()
	s.w.Str(s.user.Name)
	s.w.SP()
	s.w.Raw(ownRights)
	s.w.CRLF()
	return nil
}

// runListRights is LISTRIGHTS (RFC 4314 section 3.4). The owner always has all rights, and
// nobody else can be granted any.
func runListRights(s *session) error {
	lx := s.lx
	lx.SP()
	name := lx.Mailbox()
	lx.SP()
	who := string(lx.AString())
	if err := lx.End(); err != nil {
		return err
	}
	name, err := s.existing(name)
	if err != nil {
		return err
	}
	s.w.Raw("* LISTRIGHTS ")
	s.w.Mailbox(name)
	s.w.SP()
	s.w.Str(who)
	s.w.SP()
	if strings.EqualFold(who, s.user.Name) {
		s.w.Raw(ownRights)
	} else {
		s.w.Raw(`""`)
	}
	s.w.CRLF()
	return nil
}

func errNoACL() error {
	return no(imap.ResponseCodeNoPerm, "Mailboxes cannot be shared with other users here.")
}

// runSetACL is SETACL (RFC 4314 section 3.1).
func runSetACL(s *session) error {
	lx := s.lx
	lx.SP()
	lx.Mailbox()
	lx.SP()
	lx.AString()
	lx.SP()
	rights := string(lx.AString())
	if lx.Err() == nil && strings.Trim(strings.TrimLeft(rights, "+-"), ownRights+"n0123456789") != "" {
		lx.Fail("Unknown right.")
	}
	if err := lx.End(); err != nil {
		return err
	}
	return errNoACL()
}

// runDeleteACL is DELETEACL (RFC 4314 section 3.2).
func runDeleteACL(s *session) error {
	lx := s.lx
	lx.SP()
	lx.Mailbox()
	lx.SP()
	lx.AString()
	if err := lx.End(); err != nil {
		return err
	}
	return errNoACL()
}
