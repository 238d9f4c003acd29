package mailbox

import "maildird/maildir/uidlist"

// listHead is what clients are told of the header of dovecot-uidlist. The list can be lost, or
// an older one take its place; what a client was told stays valid: UIDVALIDITY, once known,
// does not change, and the next UID does not decrease.
type listHead struct {
	validity uint32 // 0: unknown
	guid     string // "" if the list has none
	next     uint32
}

// contradicts reports whether a header is that of another mailbox.
func (h *listHead) contradicts(now uidlist.Header) bool {
	return h.validity != 0 && now.UIDValidity != 0 && now.UIDValidity != h.validity
}

// take takes over a header that does not contradict.
func (h *listHead) take(now uidlist.Header) {
	if now.UIDValidity != 0 {
		h.validity = now.UIDValidity
	}
	h.guid = now.GUID
	h.raise(now.NextUID)
}

// raise notes that the UIDs below next have been assigned.
func (h *listHead) raise(next uint32) { h.next = max(h.next, next) }

// last returns the highest UID that may have been assigned, 0 if none.
func (h *listHead) last() uint32 { return max(h.next, 1) - 1 }

// takeHead takes over the header of the list after this process wrote it. m.sync is held.
func (m *Mailbox) takeHead() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head.take(m.list.Header())
}
