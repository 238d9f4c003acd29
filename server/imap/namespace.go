package imap

import "github.com/emersion/go-imap/v2"

// namespaceExtension is NAMESPACE.
func namespaceExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapNamespace},
		commands: []command{{name: "NAMESPACE", in: loggedIn, news: allNews, run: runNamespace}},
	}
}

// runNamespace is NAMESPACE (RFC 9051 section 6.3.10). The personal namespace is the only one.
func runNamespace(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	tree := s.account.Tree()
	s.w.Raw("* NAMESPACE ((")
	s.w.Mailbox(tree.Prefix())
	s.w.SP()
	s.w.Str(string(tree.Separator()))
	s.w.Raw(")) NIL NIL\r\n")
	return nil
}
