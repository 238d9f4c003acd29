package imap

import (
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/server/imap/pattern"
)

// listExtension is LIST with the extensions of RFC 5258 (LIST-EXTENDED) and RFC
// 5819 (LIST-STATUS).
func listExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapChildren, imap.CapListExtended, imap.CapListStatus},
		commands: []command{{name: "LIST", in: loggedIn, news: allNews, run: runList}},
		listSelect: words[listCommand]{
			"SUBSCRIBED":     func(_ *lexer, cmd *listCommand) { cmd.SelectSubscribed = true },
			"REMOTE":         func(_ *lexer, cmd *listCommand) { cmd.SelectRemote = true }, // no mailbox is remote
			"RECURSIVEMATCH": func(_ *lexer, cmd *listCommand) { cmd.SelectRecursiveMatch = true },
		},
		listReturn: words[listCommand]{
			"SUBSCRIBED": func(_ *lexer, cmd *listCommand) { cmd.ReturnSubscribed = true },
			"CHILDREN":   func(_ *lexer, cmd *listCommand) { cmd.ReturnChildren = true },
			"STATUS":     (*lexer).listStatus,
		},
	}
}

// listCommand is the arguments of LIST.
type listCommand struct {
	imap.ListOptions // without ReturnStatus
	reference        string
	patterns         []string
	extended         bool // uses the syntax of RFC 5258
	lsub             bool // the command is LSUB, and so are the responses
	// status are the items of RETURN (STATUS (...)).
	status []*statusItem
	// each are called after the LIST response of a mailbox that can be selected, and write
	// responses that belong to it. Only an error that ends the session ends the command.
	each []func(*session, *folder.Entry) error
}

// listStatus takes the items of RETURN (STATUS (...)) (RFC 5819).
func (lx *lexer) listStatus(cmd *listCommand) {
	lx.SP()
	cmd.status = lx.statusItems()
}

// maxPatterns limits how many patterns each name is matched with.
const maxPatterns = 100

// runList is LIST (RFC 9051 section 6.3.9).
func runList(s *session) error {
	cmd, err := s.lx.listCommand()
	if err != nil {
		return err
	}
	if !cmd.extended && cmd.patterns[0] == "" {
		// The client asks for the separator (RFC 9051 section 6.3.9).
		s.listResponse([]imap.MailboxAttr{imap.MailboxAttrNoSelect}, "")
		s.w.CRLF()
		return nil
	}
	return s.list(cmd)
}

func (lx *lexer) listCommand() (*listCommand, error) {
	cmd := &listCommand{}
	lx.SP()
	if lx.Peek() == '(' {
		cmd.extended = true
		lx.selectOptions(cmd)
		lx.SP()
	}
	cmd.reference = lx.PatternText(lx.AString())
	lx.SP()
	if lx.Peek() == '(' {
		cmd.extended = true
		lx.List(func() { cmd.patterns = append(cmd.patterns, lx.PatternText(lx.ListMailbox())) })
		if len(cmd.patterns) > maxPatterns {
			lx.FailWith(no(imap.ResponseCodeLimit, "Too many patterns, at most %d are allowed.", maxPatterns))
		}
	} else {
		cmd.patterns = []string{lx.PatternText(lx.ListMailbox())}
	}
	if lx.More() {
		cmd.extended = true
		lx.returnOptions(cmd)
	}
	return cmd, lx.End()
}

// selectOptions takes the selection options (RFC 9051 section 6.3.9.1). If one is repeated, "the
// server MUST act as if it received the option only once" (section 6.3.9).
func (lx *lexer) selectOptions(cmd *listCommand) {
	lx.OptionalList(lx.grammar.listSelect.repeatable(lx, cmd, "selection option"))
	if cmd.SelectRecursiveMatch && !cmd.SelectSubscribed && !cmd.SelectSpecialUse {
		lx.Fail("RECURSIVEMATCH needs another option to match.")
	}
}

// returnOptions takes the return options (RFC 9051 section 6.3.9.2). A repeated one counts once.
func (lx *lexer) returnOptions(cmd *listCommand) {
	if string(lx.Word()) != "RETURN" {
		lx.Fail("Expected RETURN.")
	}
	lx.SP()
	lx.OptionalList(lx.grammar.listReturn.repeatable(lx, cmd, "return option"))
}

// list writes the responses to LIST.
func (s *session) list(cmd *listCommand) error {
	tree := s.account.Tree()
	entries, err := tree.List()
	if err != nil {
		return err
	}
	if cmd.SelectSubscribed {
		if entries, err = withSubscribed(tree, entries); err != nil {
			return err
		}
	}
	var patterns []*pattern.Pattern
	for _, text := range cmd.patterns {
		patterns = append(patterns, pattern.New(cmd.reference+text, tree.Separator()))
	}
	below := cmd.selectedBelow(entries, patterns, tree.Separator())
	for i := range entries {
		if err := s.interrupted(); err != nil {
			return err
		}
		e := &entries[i]
		if !matchesAny(patterns, e.Name) {
			continue
		}
		children := below[e.Name]
		if !cmd.selects(e) && !children.hidden {
			continue
		}
		if err := s.listEntry(cmd, e, children); err != nil {
			return err
		}
	}
	return nil
}

func matchesAny(patterns []*pattern.Pattern, name string) bool {
	for _, p := range patterns {
		if p.Matches(name) {
			return true
		}
	}
	return false
}

// childInfo reports which selection options are met by names below a name (RFC 9051
// section 6.3.9.1, RECURSIVEMATCH).
type childInfo struct {
	subscribed, specialUse bool
	// hidden: at least one of them does not match the patterns, so the name above is listed for
	// its sake even if it meets no selection option (RFC 5258 section 3.5).
	hidden bool
}

func (c childInfo) any() bool { return c.subscribed || c.specialUse }

// selects reports whether a mailbox meets the selection options.
func (cmd *listCommand) selects(e *folder.Entry) bool {
	return (!cmd.SelectSubscribed || e.Subscribed) && (!cmd.SelectSpecialUse || len(e.SpecialUse) > 0)
}

// selectedBelow returns, for RECURSIVEMATCH, the names that have names below them which
// meet the selection options.
func (cmd *listCommand) selectedBelow(entries []folder.Entry, patterns []*pattern.Pattern, sep byte) map[string]childInfo {
	below := map[string]childInfo{}
	if !cmd.SelectRecursiveMatch {
		return below
	}
	for i := range entries {
		if cmd.selects(&entries[i]) {
			hidden := !matchesAny(patterns, entries[i].Name)
			for parent := range parents(entries[i].Name, sep) {
				below[parent] = childInfo{cmd.SelectSubscribed, cmd.SelectSpecialUse, hidden || below[parent].hidden}
			}
		}
	}
	return below
}

// parents returns the names above a name, the longest first.
func parents(name string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(name, sep); i > 0 && yield(name[:i]); {
			i = strings.LastIndexByte(name[:i], sep)
		}
	}
}

// withSubscribed adds subscribed names that are not mailboxes, and the names above them.
func withSubscribed(tree *folder.Tree, entries []folder.Entry) ([]folder.Entry, error) {
	names, err := tree.Subscriptions()
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool, len(entries))
	for i := range entries {
		have[entries[i].Name] = true
	}
	all := slices.Clone(entries)
	add := func(e folder.Entry) {
		if !have[e.Name] {
			have[e.Name] = true
			all = append(all, e)
		}
	}
	for _, name := range names {
		add(folder.Entry{Name: name, NoSelect: true, NonExistent: true, Subscribed: true})
	}
	for _, name := range names {
		for parent := range parents(name, tree.Separator()) {
			add(folder.Entry{Name: parent, NoSelect: true, NonExistent: true, HasChildren: true})
		}
	}
	added := all[len(entries):]
	slices.SortFunc(added, func(a, b folder.Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// listEntry writes the response for one name, followed by STATUS and those of cmd.each.
func (s *session) listEntry(cmd *listCommand, e *folder.Entry, children childInfo) error {
	kind := "LIST"
	if cmd.lsub {
		kind = "LSUB"
	}
	var status *mailboxStatus
	if cmd.status != nil && cmd.describes(e) {
		status = s.listedStatus(cmd, e)
	}
	s.nameResponse(kind, cmd.attributes(e), e.Name)
	if children.any() {
		var info []string
		if children.subscribed {
			info = append(info, `"SUBSCRIBED"`)
		}
		if children.specialUse {
			info = append(info, `"SPECIAL-USE"`)
		}
		s.w.Raw(` ("CHILDINFO" (` + strings.Join(info, " ") + `))`)
	}
	s.w.CRLF()
	if !cmd.describes(e) {
		return nil
	}
	if status != nil {
		status.respond(e.Name, cmd.status)
	}
	for _, more := range cmd.each {
		if err := more(s, e); endsSession(err) {
			return err
		} else if err != nil {
			s.logUnlisted(e, err)
		}
	}
	return nil
}

// logUnlisted logs why something about a mailbox is missing in the answer to LIST, unless the mailbox
// was just removed. The others are listed all the same.
func (s *session) logUnlisted(e *folder.Entry, err error) {
	if !errors.Is(err, folder.ErrNotFound) && !errors.Is(err, mailbox.ErrReplaced) {
		s.log.Warn("mailbox cannot be read", "mailbox", e.Name, "error", err)
	}
}

// listResponse writes a LIST response up to and including the mailbox name.
func (s *session) listResponse(attrs []imap.MailboxAttr, name string) {
	s.nameResponse("LIST", attrs, name)
}

// nameResponse writes a LIST or LSUB response up to and including the mailbox name.
func (s *session) nameResponse(kind string, attrs []imap.MailboxAttr, name string) {
	w := s.w
	w.Raw("* ")
	w.Raw(kind)
	w.Raw(" (")
	for i, attr := range attrs {
		if i > 0 {
			w.SP()
		}
		w.Raw(string(attr))
	}
	w.Raw(") ")
	w.Str(string(s.account.Tree().Separator()))
	w.SP()
	w.Mailbox(name)
}

// describes reports whether further responses tell of a mailbox: it can be selected, and is not
// listed only for its children (RFC 5819 section 3: foo).
func (cmd *listCommand) describes(e *folder.Entry) bool { return !e.NoSelect && cmd.selects(e) }

// listedStatus returns the status of a mailbox, or nil if it cannot be read. If that is because the
// mailbox cannot be selected, "the LIST response MUST include the \NoSelect attribute" (RFC 5819
// section 2).
func (s *session) listedStatus(cmd *listCommand, e *folder.Entry) *mailboxStatus {
	status, err := s.readStatus(e.Name, cmd.status)
	if err == nil {
		return status
	}
	e.NoSelect = errors.Is(err, folder.ErrNotFound) || errors.Is(err, mailbox.ErrReplaced) || // it was removed, or is not a Maildir
		errors.Is(err, fs.ErrPermission) || errors.Is(err, dirfd.ErrNotRegular)
	s.logUnlisted(e, err)
	return nil
}

// attributes returns the attributes of a LIST response. They always include children and
// special uses, whether the client asked for them or not, as RFC 9051 and RFC 6154 allow.
func (cmd *listCommand) attributes(e *folder.Entry) []imap.MailboxAttr {
	attrs := make([]imap.MailboxAttr, 0, 4)
	switch {
	case e.NonExistent && cmd.extended:
		attrs = append(attrs, imap.MailboxAttrNonExistent) // implies \Noselect
	case e.NoSelect:
		attrs = append(attrs, imap.MailboxAttrNoSelect)
	}
	if e.HasChildren {
		attrs = append(attrs, imap.MailboxAttrHasChildren)
	} else {
		attrs = append(attrs, imap.MailboxAttrHasNoChildren)
	}
	if e.Subscribed && (cmd.SelectSubscribed || cmd.ReturnSubscribed) {
		attrs = append(attrs, imap.MailboxAttrSubscribed)
	}
	for _, use := range e.SpecialUse {
		attrs = append(attrs, imap.MailboxAttr(use))
	}
	return attrs
}
