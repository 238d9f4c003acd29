package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

// multiSearchExtension is MULTISEARCH (RFC 7377): ESEARCH searches several
// mailboxes without selecting them.
func multiSearchExtension() extension {
	return extension{
		caps:     []imap.Cap{"MULTISEARCH"},
		commands: []command{{name: "ESEARCH", in: loggedIn, news: allNews, run: runESearch}},
	}
}

// runESearch is ESEARCH (RFC 7377 section 2). Its responses have UIDs only.
func runESearch(s *session) error {
	lx := s.lx
	lx.SP()
	sources := []mailboxFilter{{kind: filterSelected}}
	if lx.acceptWord("IN") {
		sources = sources[:0]
		var bounds filterBounds
		lx.List(func() {
			sources = append(sources, lx.searchSource(s.account.Tree()))
			bounds.count(lx, &sources[len(sources)-1])
		})
		lx.SP()
	}
	query := lx.searchProgram(s.utf8)
	query.named = true
	if err := lx.End(); err != nil {
		return s.unsave(&query, err)
	}
	others, err := s.checkSources(sources, &query)
	if err != nil {
		return err
	}
	if !others {
		return s.unsave(&query, s.answerSearch(&query, true))
	}
	return s.searchAll(sources, &query)
}

// searchSource takes a specifier of mailboxes.
func (lx *lexer) searchSource(tree *folder.Tree) mailboxFilter {
	f := lx.mailboxFilter(tree)
	if f.kind == filterSelectedDelayed {
		lx.Fail("SELECTED-DELAYED is for NOTIFY.")
	}
	return f
}

// checkSources reports whether mailboxes other than the selected one are to be searched, and
// refuses options that apply to the selected one only (RFC 7377 section 2.2).
func (s *session) checkSources(sources []mailboxFilter, query *searchQuery) (others bool, err error) {
	for i := range sources {
		if sources[i].kind != filterSelected {
			others = true
		} else if s.sel == nil {
			return false, bad("No mailbox is selected.")
		}
	}
	switch {
	case query.update != nil && s.sel == nil:
		return others, bad("No mailbox is selected whose result could be kept up to date.")
	case others && query.options.ReturnSave:
		return others, bad("Only results in the selected mailbox can be saved.")
	case others && query.program.Key.UsesSaved():
		return others, bad("$ refers to the selected mailbox only.")
	case query.numbers && s.uidOnly:
		return others, errUIDRequired()
	}
	return others, nil
}

// searchAll searches each mailbox once. It ignores mailboxes that are removed meanwhile, and
// continues after one that cannot be opened.
func (s *session) searchAll(sources []mailboxFilter, query *searchQuery) error {
	tree := s.account.Tree()
	entries, err := tree.List()
	if err != nil {
		return err
	}
	if query.update != nil {
		s.w.noUpdate(string(s.tag), "Only the result in the selected mailbox can be kept up to date.")
	}
	if query.modseqs != nil {
		if err := s.enableModSeqs(); err != nil {
			return err
		}
	}
	s.done.holdExpunges = query.numbers
	for i := range entries {
		e := &entries[i]
		if e.NoSelect || !s.isSource(sources, e, tree.Separator()) {
			continue
		}
		err := s.searchIn(e.Name, query)
		switch {
		case err == nil, errors.Is(err, folder.ErrNotFound):
		case endsSession(err):
			return err
		default:
			s.log.Warn("mailbox cannot be searched", "mailbox", e.Name, "error", err)
			s.done.text = "Not all mailboxes could be searched; see the server log."
		}
	}
	return nil
}

func (s *session) isSource(sources []mailboxFilter, e *folder.Entry, separator byte) bool {
	for i := range sources {
		f := &sources[i]
		if f.matches(e.Name, e.Subscribed, separator) || f.kind == filterSelected && s.sel != nil && s.sel.name == e.Name {
			return true
		}
	}
	return false
}

// searchIn searches a mailbox: the selected one as the client knows it, others
// in their current state.
func (s *session) searchIn(name string, query *searchQuery) error {
	if s.sel != nil && s.sel.name == name {
		return s.searchSelection(query)
	}
	if err := s.interrupted(); err != nil {
		return err
	}
	box, err := s.open(name)
	if err != nil {
		return err
	}
	defer box.Release()
	view, err := box.NewView(s.ctx, true, nil)
	if err != nil {
		return err
	}
	defer view.Close()
	if query.modseqs != nil {
		if ok, err := view.EnableModSeq(s.ctx); err != nil || !ok {
			return err // without mod-sequences no message can match
		}
	}
	selected := s.sel
	s.sel = &selection{name: name, box: box, view: view}
	defer func() { s.sel = selected }()
	return s.searchSelection(query)
}

// searchSelection searches s.sel and writes a response if a message matches.
func (s *session) searchSelection(query *searchQuery) error {
	for _, arg := range query.modseqs {
		if err := arg.settle(s); err != nil {
			return err
		}
	}
	sr := newSearcher(s, &query.program)
	defer sr.Close()
	found, err := sr.run(query)
	if err == nil && s.sel.box.Broken() {
		err = mailbox.ErrReplaced
	}
	if err != nil {
		return err
	}
	if len(found) > 0 {
		s.esearchResponse(found, true, query)
	}
	if sr.omissions.unread { // messages that are gone need no mention: the client has no view of the mailbox
		s.searched(sr.omissions)
	}
	return nil
}
