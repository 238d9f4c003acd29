package mailbox

import (
	"context"
	"errors"
	"io/fs"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Status is what STATUS reports of a mailbox.
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext, UIDValidity              uint32
	Size                              int64 // octets with CRLF line ends, if requested
}

// Status looks at the files and counts the messages. New mail stays in new/. Adding up
// sizes may take long; an error from check ends it.
func (m *Mailbox) Status(ctx context.Context, size bool, check func() error) (Status, error) {
	if err := m.Poll(ctx); err != nil {
		return Status{}, err
	}
	m.mu.RLock()
	st := Status{Messages: m.t.Count(), UIDNext: m.head.next, UIDValidity: m.head.validity}
	for n := uint32(0); n < m.t.Len(); n += table.PageRows {
		c := m.t.PageCounts(n)
		st.Unseen += uint32(c.Unseen)
		st.Deleted += uint32(c.Deleted)
		st.Recent += uint32(c.Recent)
	}
	var all []Message
	if size {
		for n := range m.t.Len() {
			if r := m.t.Row(n); r.State == table.Present {
				all = append(all, Message{UID: r.UID, row: n})
			}
		}
	}
	m.mu.RUnlock()
	var err error
	if st.Size, err = m.sum(ctx, all, check); err == nil && m.Broken() {
		err = ErrReplaced
	}
	return st, err
}

// sum adds up the sizes of messages. Messages that cannot be read are left out, since FETCH
// does not show them either.
func (m *Mailbox) sum(ctx context.Context, msgs []Message, check func() error) (total int64, err error) {
	for _, msg := range msgs {
		if err := check(); err != nil {
			return 0, err
		}
		n, err := m.size(ctx, msg, check)
		switch {
		case errors.Is(err, ErrGone), errors.Is(err, dirfd.ErrNotRegular), errors.Is(err, fs.ErrPermission),
			errors.Is(err, compress.ErrDamaged), errors.Is(err, compress.ErrTooBig):
		case err != nil:
			return 0, err
		default:
			total += n
		}
	}
	return total, nil
}

// DeletedSize returns the total size of the messages that are \Deleted, in octets with CRLF
// line ends. An error from check ends it.
func (m *Mailbox) DeletedSize(ctx context.Context, check func() error) (total int64, err error) {
	if err := m.Poll(ctx); err != nil {
		return 0, err
	}
	m.mu.RLock()
	var deleted []Message
	for n := range m.t.Len() {
		if r := m.t.Row(n); r.State == table.Present && r.Flags&filename.Deleted != 0 {
			deleted = append(deleted, Message{UID: r.UID, row: n})
		}
	}
	m.mu.RUnlock()
	if total, err = m.sum(ctx, deleted, check); err == nil && m.Broken() {
		err = ErrReplaced
	}
	return total, err
}
