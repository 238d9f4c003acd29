package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// contextExtension is CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267 section 4), with the FETCH
// items that RFC 5465 section 7 adds to UPDATE. This file parses the options, and begins and
// ends contexts; contextfollow.go reports their changes.
//
// Decisions where the RFC leaves a choice, or is easily misread:
//
//   - CONTEXT is only a hint, and is ignored: results are cheap to find again, and "there is no
//     snapshot facility" (4.3). RETURN (CONTEXT) means RETURN ().
//   - UPDATE alone does not ask for a result, so the response has none (in RFC 4731 section 3.1
//     only an empty list stands for ALL).
//   - Other options "have no interaction" with UPDATE: all messages that match are members,
//     whichever of them were returned.
//   - Sequence numbers and "$" are "evaluated when the command is received" (4.3): such a key
//     stands for the same messages from then on, and never for a new one. A set of UIDs is
//     taken as it was written, and its "*" moves on.
//   - A change is reported together with the FETCH, EXISTS or EXPUNGE that causes it, after the
//     first two and before the last (4.3.3, 4.3.4). What NOTIFY or a command with sequence
//     numbers holds back is held back here too, so that the result only ever consists of
//     messages that the client knows. Changes by the client itself are reported as well.
//   - Positions are 0 for SEARCH (4.3.3: "the context position MAY be zero"), whose results are
//     in mailbox order, and are counted from 1 for SORT.
//   - NOUPDATE (4.3.1) refuses keys whose result changes with time alone (OLDER, YOUNGER),
//     searches of several mailboxes (MULTISEARCH), and whatever exceeds the limits below; one
//     context is always granted. It also ends contexts with sequence numbers at ENABLE UIDONLY,
//     and one of SORT if its order needs more memory than is left.
//   - A command that fails leaves no context. CANCELUPDATE of a tag without a context gets
//     NO and cancels nothing.
//   - The server does not notice when another program changes an INTERNALDATE in place.
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

// maxContextResults is the maximum number of messages in all contexts of a session, except that
// a single context may have more. Each message takes 4 octets.
const maxContextResults = 1 << 20

// searchUpdate is the return option UPDATE.
type searchUpdate struct {
	items *fetchItems // to fetch of new members; nil for none
}

// updateOption takes the rest of UPDATE. RFC 5465 section 7 has a space before the items in its
// example, but not in its grammar: both are accepted.
func (lx *lexer) updateOption(q *searchQuery) {
	q.update = &searchUpdate{}
	if lx.Follows(" (") {
		lx.SP()
	}
	if lx.Peek() == '(' {
		items := lx.fetchItems()
		for i := range items.parts {
			items.parts[i].Peek = true // nobody has read the message
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

// searchContext is a search whose result the client is kept informed about.
type searchContext struct {
	tag   string
	uid   bool // report UIDs, not sequence numbers
	query searchQuery
	order []sortKey   // nil for SEARCH
	items *fetchItems // to fetch of new members; nil for none

	members []uint32 // UIDs of the result, in its order
	last    uint32   // the highest UID at the last evaluation, for "*"
}

// context returns the context with a tag, or nil.
func (s *session) context(tag string) *searchContext {
	for _, c := range s.sel.contexts {
		if c.tag == tag {
			return c
		}
	}
	return nil
}

// keepUpdated creates a context for the current command, if the client asked for one. found is
// the complete result in its order.
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
		s.w.noUpdate(string(s.tag), "The result changes as time passes.")
		return
	case n >= s.srv.cfg.Limits.Contexts, n > 0 && results > maxContextResults:
		s.w.noUpdate(string(s.tag), "Too many contexts.")
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

// noUpdate reports that a tag gets no updates (RFC 5267 section 4.3.1).
func (w *writer) noUpdate(tag, why string) {
	w.untagged("NO", `NOUPDATE "`+tag+`"`, why)
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

// endNumbered ends the contexts that report sequence numbers, which UIDONLY does not allow.
func (s *session) endNumbered() error {
	if s.sel == nil {
		return nil
	}
	s.sel.contexts = slices.DeleteFunc(s.sel.contexts, func(c *searchContext) bool {
		if !c.uid {
			s.w.noUpdate(c.tag, "Sequence numbers are not allowed after ENABLE UIDONLY.")
		}
		return !c.uid
	})
	return nil
}
