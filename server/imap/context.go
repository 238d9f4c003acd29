package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// contextExtension is CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267 section 4), with
// the items that RFC 5465 section 7 gives to UPDATE. This file has the grammar,
// and what makes and ends a context; contextfollow.go tells what changes in it.
//
// What the RFC leaves open, or is easily misread:
//
//   - CONTEXT is a hint. Nothing is made of it: results are cheap to find again,
//     and "there is no snapshot facility" (4.3). RETURN (CONTEXT) is RETURN ().
//   - UPDATE alone asks for no result, so the response has none (RFC 4731 section
//     3.1 has ALL for an empty list only).
//   - Other options "have no interaction" with UPDATE: all that matches counts,
//     whatever was returned of it.
//   - Sequence numbers, and "$", are "evaluated when the command is received"
//     (4.3): such a key means the same messages from then on, and no new one. A
//     UID set is the client's words, and its "*" moves on.
//   - A context is told together with the FETCH, EXISTS or EXPUNGE that has the
//     change, behind the first two and before the last (4.3.3, 4.3.4). What NOTIFY
//     or a command with sequence numbers holds back is held back here too, so
//     that the result is always one of the messages that the client knows. What
//     the client changes itself is told as well.
//   - Positions are 0 for SEARCH (4.3.3: "the context position MAY be zero"), whose
//     results have the order of the mailbox, and counted from 1 for SORT.
//   - Refused with NOUPDATE (4.3.1) are keys whose answer changes while nothing
//     happens (OLDER, YOUNGER), searches of several mailboxes (MULTISEARCH), and
//     what is beyond the bounds below; one context is always granted. ENABLE
//     UIDONLY ends those that are told in sequence numbers, by the same code.
//   - A command that fails leaves no context. CANCELUPDATE of a tag that has none
//     is answered with NO, and cancels nothing.
//   - An INTERNALDATE that another program changes in place is not noticed.
func contextExtension() extension {
	return extension{
		caps:     []imap.Cap{"CONTEXT=SEARCH", "CONTEXT=SORT"},
		commands: []command{{name: "CANCELUPDATE", in: selected, news: allNews, run: runCancelUpdate}},
		searchReturn: words[searchQuery]{
			"CONTEXT": func(*lexer, *searchQuery) {},
			"UPDATE":  (*lexer).updateOption,
		},
	}
}

// maxContextResults bounds the messages in all contexts of a session but for one
// that is its only one. Each takes 4 octets.
const maxContextResults = 1 << 20

// searchUpdate is the option UPDATE.
type searchUpdate struct {
	items *fetchItems // of messages that come; nil for none
}

// updateOption takes the rest of UPDATE. The items have a space before them in
// the example of RFC 5465 section 7, and none in its grammar.
func (lx *lexer) updateOption(q *searchQuery) {
	q.update = &searchUpdate{}
	if lx.Follows(" (") {
		lx.SP()
	}
	if lx.Peek() == '(' {
		items := lx.fetchItems()
		for i := range items.parts {
			items.parts[i].Peek = true // nobody read the message
		}
		q.update.items = &items
	}
	q.begin = append(q.begin, func(s *session) error {
		if s.context(string(s.tag)) != nil {
			return bad("This tag already has updates.") // RFC 5267 section 4.3
		}
		return nil
	})
}

// searchContext is a search whose client is told how its result changes.
type searchContext struct {
	tag   string
	uid   bool // it is told in UIDs
	query searchQuery
	order []sortKey   // nil for SEARCH
	items *fetchItems // of messages that come; nil for none

	members []uint32 // UIDs of the result, in its order
	last    uint32   // the highest UID when it was looked at, for "*"
}

// context finds the context of a tag, nil if there is none.
func (s *session) context(tag string) *searchContext {
	for _, c := range s.sel.contexts {
		if c.tag == tag {
			return c
		}
	}
	return nil
}

// keepUpdated begins to tell how the result of the running command changes, if
// the client asked for that. found is all that was found, in its order.
func (s *session) keepUpdated(q *searchQuery, found []mailbox.Message, uid bool, order []sortKey) {
	if q.update == nil {
		return
	}
	results := len(found)
	for _, c := range s.sel.contexts {
		results += len(c.members)
	}
	switch n := len(s.sel.contexts); {
	case q.program.Key.Fleeting():
		s.noUpdate(string(s.tag), "The result changes as time passes.")
		return
	case n >= s.srv.cfg.Limits.Contexts, n > 0 && results > maxContextResults:
		s.noUpdate(string(s.tag), "Too many contexts.")
		return
	}
	c := &searchContext{
		tag: string(s.tag), uid: uid, order: order, items: q.update.items,
		query:   searchQuery{program: q.program.Frozen(s.sel.view, s.sel.saved), named: q.named},
		members: make([]uint32, len(found)), last: s.sel.view.LastUID(),
	}
	for i, m := range found {
		c.members[i] = m.UID
	}
	s.sel.contexts = append(s.sel.contexts, c)
}

// noUpdate tells that no changes are told under a tag (RFC 5267 section 4.3.1).
func (s *session) noUpdate(tag, why string) {
	s.writeStatus(nil, "NO", `NOUPDATE "`+tag+`"`, why)
}

// runCancelUpdate is CANCELUPDATE (RFC 5267 section 4.3.5).
func runCancelUpdate(s *session) error {
	lx := s.lx
	lx.SP()
	tags := []string{string(lx.AString())}
	for lx.More() {
		tags = append(tags, string(lx.AString()))
	}
	if err := lx.End(); err != nil {
		return err
	}
	for _, tag := range tags {
		if s.context(tag) == nil {
			return no("", "No updates under the tag %.40s.", tag)
		}
	}
	s.sel.contexts = slices.DeleteFunc(s.sel.contexts, func(c *searchContext) bool { return slices.Contains(tags, c.tag) })
	return nil
}

// endNumbered ends the contexts that are told in sequence numbers, which a
// client with UIDONLY never hears of.
func (s *session) endNumbered() error {
	if s.sel == nil {
		return nil
	}
	s.sel.contexts = slices.DeleteFunc(s.sel.contexts, func(c *searchContext) bool {
		if !c.uid {
			s.noUpdate(c.tag, "Sequence numbers are not allowed after ENABLE UIDONLY.")
		}
		return !c.uid
	})
	return nil
}
