package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/syntax"
)

// specialUseExtension is SPECIAL-USE and CREATE-SPECIAL-USE (RFC 6154).
func specialUseExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapSpecialUse, imap.CapCreateSpecialUse},
		createParams: words[createRequest]{
			"USE": func(lx *lexer, req *createRequest) {
				lx.SP()
				lx.OptionalList(func() { req.uses = append(req.uses, lx.specialUse()) })
			},
		},
		listSelect: words[listCommand]{
			"SPECIAL-USE": func(_ *lexer, cmd *listCommand) { cmd.SelectSpecialUse = true },
		},
		listReturn: words[listCommand]{
			"SPECIAL-USE": func(_ *lexer, cmd *listCommand) { cmd.ReturnSpecialUse = true },
		},
	}
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
	lx.Expect('\\')
	b := lx.AtomAs("an attribute")
	for _, use := range specialUses {
		if syntax.EqualFold(b, string(use[1:])) {
			return string(use)
		}
	}
	lx.FailWith(no(codeUseAttr, "Special use \\%.40s is not available.", b))
	return ""
}
