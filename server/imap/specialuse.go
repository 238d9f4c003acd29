package imap

import "github.com/emersion/go-imap/v2"

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

// codeUseAttr is from RFC 6154 section 3.
const codeUseAttr = imap.ResponseCode("USEATTR")

// specialUse takes an attribute such as \Sent. folder.Tree knows which ones exist.
func (lx *lexer) specialUse() string {
	lx.Expect('\\')
	return `\` + string(lx.AtomAs("an attribute"))
}
