package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/pattern"
)

// lsubExtension is LSUB, which IMAP4rev2 no longer has.
func lsubExtension() extension {
	return extension{commands: []command{{name: "LSUB", in: loggedIn, news: allNews, run: runLsub}}}
}

// runLsub is LSUB (RFC 3501 section 6.3.9). Beyond the grammar it accepts RETURN, like
// Dovecot: Cypht sends it to servers with LIST-EXTENDED. Such an LSUB returns what LIST
// (SUBSCRIBED RECURSIVEMATCH) does.
func runLsub(s *session) error {
	lx := s.lx
	lx.SP()
	reference := lx.PatternText(lx.AString())
	lx.SP()
	text := lx.PatternText(lx.ListMailbox())
	if lx.More() {
		cmd := &listCommand{reference: reference, patterns: []string{text}, extended: true, lsub: true}
		cmd.SelectSubscribed, cmd.SelectRecursiveMatch = true, true
		lx.returnOptions(cmd)
		if err := lx.End(); err != nil {
			return err
		}
		return s.list(cmd)
	}
	if err := lx.End(); err != nil {
		return err
	}
	tree := s.account.Tree()
	if text == "" {
		s.nameResponse("LSUB", []imap.MailboxAttr{imap.MailboxAttrNoSelect}, "")
		s.w.CRLF()
		return nil
	}
	names, err := tree.Subscriptions()
	if err != nil {
		return err
	}
	subscribed := make(map[string]bool, len(names))
	for _, name := range names {
		subscribed[name] = true
	}
	p := pattern.New(reference+text, tree.Separator())
	deep := pattern.New(strings.ReplaceAll(reference+text, "%", "*"), tree.Separator())
	told := map[string]bool{}
	for _, name := range names {
		if p.Matches(name) {
			s.nameResponse("LSUB", nil, name)
			s.w.CRLF()
			continue
		}
		// A name that does not match only because of "%" is represented by the name above it
		// that matches: foo/bar by \Noselect foo.
		if !deep.Matches(name) {
			continue
		}
		for parent := range parents(name, tree.Separator()) {
			if subscribed[parent] || told[parent] || !p.Matches(parent) {
				continue
			}
			told[parent] = true
			s.nameResponse("LSUB", []imap.MailboxAttr{imap.MailboxAttrNoSelect}, parent)
			s.w.CRLF()
		}
	}
	return nil
}
