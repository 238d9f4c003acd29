package imap

import (
	"github.com/emersion/go-imap/v2"
)

// mailboxCommands are the commands that work on mailboxes.
func mailboxCommands() []command {
	return []command{
		{name: "NAMESPACE", in: loggedIn, news: allNews, run: runNamespace, caps: []imap.Cap{imap.CapNamespace}},
		{name: "LIST", in: loggedIn, news: allNews, run: runList, caps: []imap.Cap{
			imap.CapChildren, imap.CapListExtended, imap.CapListStatus, imap.CapSpecialUse}},
		{name: "LSUB", in: loggedIn, news: allNews, run: runLsub},
		{name: "STATUS", in: loggedIn, news: allNews, run: runStatus, caps: []imap.Cap{imap.CapStatusSize}},
		{name: "CREATE", in: loggedIn, news: allNews, run: runCreate, caps: []imap.Cap{imap.CapCreateSpecialUse}},
		{name: "DELETE", in: loggedIn, news: allNews, run: runDelete},
		{name: "RENAME", in: loggedIn, news: allNews, run: runRename},
		{name: "SUBSCRIBE", in: loggedIn, news: allNews, run: runSubscribe},
		{name: "UNSUBSCRIBE", in: loggedIn, news: allNews, run: runUnsubscribe},
		{name: "SELECT", in: loggedIn, run: runSelect},
		{name: "EXAMINE", in: loggedIn, run: runExamine},
		{name: "CLOSE", in: selected, run: runClose},
		{name: "UNSELECT", in: selected, run: runUnselect, caps: []imap.Cap{imap.CapUnselect}},
		{name: "CHECK", in: selected, news: allNews, run: runNoop},
	}
}

// runNamespace is NAMESPACE (RFC 9051 section 6.3.10). There is one, the user's own.
func runNamespace(s *session) error {
	if err := s.lx.end(); err != nil {
		return err
	}
	tree := s.account.Tree()
	s.w.raw("* NAMESPACE ((")
	s.w.mailbox(tree.Prefix())
	s.w.sp()
	s.w.str(string(tree.Separator()))
	s.w.raw(")) NIL NIL\r\n")
	return nil
}

// mailboxArgument takes the one argument of a command, a mailbox.
func (s *session) mailboxArgument() (string, error) {
	s.lx.sp()
	name := s.lx.mailbox()
	return name, s.lx.end()
}

// specialUses are the attributes that a mailbox can get. \All and \Flagged are
// for virtual mailboxes, of which there are none (RFC 6154 section 2).
var specialUses = []imap.MailboxAttr{
	imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrJunk,
	imap.MailboxAttrSent, imap.MailboxAttrTrash,
}

// codeUseAttr is of RFC 6154 section 3.
const codeUseAttr = imap.ResponseCode("USEATTR")

// specialUse takes an attribute such as \Sent.
func (lx *lexer) specialUse() string {
	lx.expect('\\')
	b := lx.nonEmpty(classAtom, "an attribute")
	for _, use := range specialUses {
		if equalFold(b, string(use[1:])) {
			return string(use)
		}
	}
	lx.failWith(no(codeUseAttr, "Special use \\%.40s is not available.", b))
	return ""
}

// runCreate is CREATE (RFC 9051 section 6.3.4, RFC 6154 section 3).
func runCreate(s *session) error {
	lx := s.lx
	lx.sp()
	name := lx.mailbox()
	var uses []string
	if lx.more() {
		lx.optionalList(func() {
			if string(lx.word()) != "USE" {
				lx.fail("Unknown parameter.")
			}
			lx.sp()
			lx.optionalList(func() { uses = append(uses, lx.specialUse()) })
		})
	}
	if err := lx.end(); err != nil {
		return err
	}
	return s.account.Tree().Create(name, uses)
}

// runDelete is DELETE (RFC 9051 section 6.3.5). Sessions that have the mailbox
// selected learn by BYE that it is gone.
func runDelete(s *session) error {
	name, err := s.mailboxArgument()
	if err != nil {
		return err
	}
	if name, err = s.account.Tree().Canonical(name); err != nil {
		return err
	}
	return s.account.Delete(name)
}

// runRename is RENAME (RFC 9051 section 6.3.6).
func runRename(s *session) error {
	lx := s.lx
	lx.sp()
	from := lx.mailbox()
	lx.sp()
	to := lx.mailbox()
	if err := lx.end(); err != nil {
		return err
	}
	from, err := s.account.Tree().Canonical(from)
	if err != nil {
		return err
	}
	return s.account.Rename(s.ctx, from, to)
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
	return tree.SetSubscribed(name, true)
}

// runUnsubscribe is UNSUBSCRIBE (RFC 9051 section 6.3.8).
func runUnsubscribe(s *session) error {
	name, err := s.mailboxArgument()
	if err != nil {
		return err
	}
	return s.account.Tree().SetSubscribed(name, false)
}
