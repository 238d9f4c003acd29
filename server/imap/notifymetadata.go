package imap

import (
	"maps"
	"slices"
	"strings"

	"maildird/maildir"
	"maildird/server/imap/wire"
)

// maxEntriesToTell is the maximum number of changed annotations that are remembered until the
// session can tell its client, which may be in the middle of a long command.
const maxEntriesToTell = 1000

// metadataChanged notes that annotations have changed, unless this client changed them. It is
// called by other goroutines.
func (n *notifier) metadataChanged(c maildir.MetadataChange) {
	if c.By == n.s {
		return
	}
	n.mu.Lock()
	if n.metadata == nil {
		n.metadata = map[string]map[string]bool{}
	}
	for _, name := range c.Entries {
		name = strings.ToLower(name)
		entries := n.metadata[c.Mailbox]
		if entries[name] || n.entries > maxEntriesToTell {
			continue
		}
		if entries == nil {
			entries = map[string]bool{}
			n.metadata[c.Mailbox] = entries
		}
		entries[name] = true
		n.entries++
	}
	n.mu.Unlock()
	n.s.wire.Wake(wire.NewsOthers)
}

// tellMetadata reports which annotations have changed, without their values (RFC 5465 sections
// 5.6 and 5.7, RFC 5464 section 4.4.2).
func (n *notifier) tellMetadata(changed map[string]map[string]bool) {
	w := n.s.w
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		if name == "" && n.wants&eventServerMetadata == 0 || name != "" && n.eventsOf(name)&eventMetadata == 0 {
			continue
		}
		w.Raw("* METADATA ")
		w.Mailbox(name)
		for _, entry := range slices.Sorted(maps.Keys(changed[name])) {
			w.SP()
			w.entryName(entry)
		}
		w.CRLF()
	}
}
