package mailbox

import (
	"context"
)

// Mailbox is one folder, shared by all sessions that have it open.
type Mailbox struct{}

// View is one session's view of a mailbox.
type View struct{ API }

// NewView opens a view. notify is called, from another goroutine and without
// locks held, when Updates may have something to tell; it must not block.
// A view that is not read-only claims the recent messages.
func (m *Mailbox) NewView(ctx context.Context, readOnly bool, notify func()) (*View, error) {
	panic("not yet")
}

// Status looks at the files and counts, without moving new mail to cur/.
func (m *Mailbox) Status(ctx context.Context, size bool) (Status, error) { panic("not yet") }

// NewIncoming begins a message in the mailbox's tmp/.
func (m *Mailbox) NewIncoming(opt AppendOptions) (Incoming, error) { panic("not yet") }

// Append puts the messages into the mailbox, all or none, in this order, and returns their UIDs.
func (m *Mailbox) Append(ctx context.Context, in []Incoming) (uidvalidity uint32, uids []uint32, err error) {
	panic("not yet")
}

// Release gives back what Account.Open returned.
func (m *Mailbox) Release() {}
