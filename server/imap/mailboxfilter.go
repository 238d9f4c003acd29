package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
)

// mailboxFilter names mailboxes as NOTIFY and ESEARCH do (RFC 5465 section 6,
// RFC 7377 section 2.2).
type mailboxFilter struct {
	kind  filterKind
	names []string // as they are shown; subtree, subtree-one
	set   map[string]bool
}

// filterKind is the word that a filter begins with.
type filterKind uint8

const (
	filterSelected filterKind = iota
	filterSelectedDelayed
	filterPersonal // and inboxes: see filterWords
	filterSubscribed
	filterSubtree
	filterSubtreeOne
	filterMailboxes
)

// filterWords are the specifiers. Mail is delivered to any folder, by procmail
// and its kin, so inboxes is the same as personal (RFC 5465 section 6.3: "If the
// IMAP server cannot easily compute this set").
var filterWords = map[string]filterKind{
	"SELECTED": filterSelected, "SELECTED-DELAYED": filterSelectedDelayed,
	"PERSONAL": filterPersonal, "INBOXES": filterPersonal, "SUBSCRIBED": filterSubscribed,
	"SUBTREE": filterSubtree, "SUBTREE-ONE": filterSubtreeOne, "MAILBOXES": filterMailboxes,
}

// What each mailbox is compared with for one command.
const (
	maxFilters  = 100
	maxSubtrees = 1000
)

// filterBounds keeps the filters of one command within these bounds.
type filterBounds struct{ filters, subtrees int }

// count counts one filter more.
func (n *filterBounds) count(lx *lexer, f *mailboxFilter) {
	n.filters++
	n.subtrees += len(f.names)
	if n.filters > maxFilters || n.subtrees > maxSubtrees {
		lx.FailWith(no(imap.ResponseCodeLimit, "Too many mailbox specifiers or subtrees."))
	}
}

// mailboxFilter takes a specifier, and the names that belong to it.
func (lx *lexer) mailboxFilter(tree *folder.Tree) (f mailboxFilter) {
	word := lx.Word()
	kind, ok := filterWords[string(word)]
	if !ok {
		lx.Fail("Unknown mailbox specifier %.40s.", word)
		return f
	}
	f.kind = kind
	if kind < filterSubtree {
		return f
	}
	lx.SP()
	add := func() {
		name, err := tree.Canonical(lx.Mailbox())
		switch {
		case lx.Err() != nil || err != nil: // there is no such mailbox, which is to be passed over
		case kind == filterMailboxes:
			if f.set == nil {
				f.set = map[string]bool{}
			}
			f.set[name] = true
		default:
			f.names = append(f.names, name)
		}
	}
	if lx.Peek() == '(' {
		lx.List(add)
	} else {
		add()
	}
	return f
}

// matches tells whether a mailbox is meant. The selected one, as such, is not
// asked for here.
func (f *mailboxFilter) matches(name string, subscribed bool, separator byte) bool {
	switch f.kind {
	case filterPersonal:
		return true
	case filterSubscribed:
		return subscribed
	case filterMailboxes:
		return f.set[name]
	case filterSubtree, filterSubtreeOne:
		for _, top := range f.names {
			if name == top {
				return true
			}
			below, ok := strings.CutPrefix(name, top)
			if ok && below[0] == separator && (f.kind == filterSubtree || strings.IndexByte(below[1:], separator) < 0) {
				return true
			}
		}
	}
	return false
}
