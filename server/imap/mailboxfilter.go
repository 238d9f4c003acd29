package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
)

// mailboxFilter is a set of mailboxes, as NOTIFY and ESEARCH specify it (RFC 5465 section 6,
// RFC 7377 section 2.2).
type mailboxFilter struct {
	kind  filterKind
	names []string        // canonical; for subtree and subtree-one
	set   map[string]bool // canonical; for mailboxes
}

// filterKind is the first word of a filter.
type filterKind uint8

const (
	filterSelected filterKind = iota
	filterSelectedDelayed
	filterPersonal // also inboxes: see filterWords
	filterSubscribed
	filterSubtree
	filterSubtreeOne
	filterMailboxes
)

// filterWords are the specifiers. Programs such as procmail deliver mail to any folder, so
// inboxes means the same as personal (RFC 5465 section 6.3: "If the IMAP server cannot
// easily compute this set").
var filterWords = map[string]filterKind{
	"SELECTED": filterSelected, "SELECTED-DELAYED": filterSelectedDelayed,
	"PERSONAL": filterPersonal, "INBOXES": filterPersonal, "SUBSCRIBED": filterSubscribed,
	"SUBTREE": filterSubtree, "SUBTREE-ONE": filterSubtreeOne, "MAILBOXES": filterMailboxes,
}

// Limits of one command, because each mailbox is tested against all filters.
const (
	maxFilters  = 100
	maxSubtrees = 1000
)

// filterBounds counts the filters and subtrees of a command.
type filterBounds struct{ filters, subtrees int }

// count adds a filter, and fails the command if there are too many.
func (n *filterBounds) count(lx *lexer, f *mailboxFilter) {
	n.filters++
	n.subtrees += len(f.names)
	if n.filters > maxFilters || n.subtrees > maxSubtrees {
		lx.FailWith(no(imap.ResponseCodeLimit, "Too many mailbox specifiers or subtrees, at most %d and %d are allowed.", maxFilters, maxSubtrees))
	}
}

// mailboxFilter takes a specifier with its mailbox names.
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
		case lx.Err() != nil || err != nil: // no such mailbox: ignored, as the RFC requires
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

// matches reports whether a mailbox is in the set. It must not be called for filters
// of the selected mailbox.
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
