package maildir

import (
	"context"
	"errors"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/maildirsize"
)

// namesChanged makes the open mailboxes check whether their names still lead to them.
func (a *Account) namesChanged() {
	a.changes.Add(1)
	a.store.mu.Lock()
	clear(a.names)
	var open []*mailbox.Mailbox
	for _, b := range a.boxes {
		if b.ready() && b.err == nil {
			open = append(open, b.box)
		}
	}
	a.store.mu.Unlock()
	for _, box := range open {
		box.NameChanged()
	}
}

// Delete removes a mailbox and its mail, with the errors of folder.Tree.Delete. The next
// Poll of sessions that have it open returns mailbox.ErrReplaced.
func (a *Account) Delete(ctx context.Context, name string) error {
	var bytes int64
	messages := 0
	if maildirsize.Kept(a.root) {
		// Mail that arrives between this and the removal of the folder is not counted:
		// programs that use the sum recalculate it from time to time.
		if dir, err := a.tree.OpenDir(name); err == nil {
			bytes, messages = maildirsize.Folder(dir)
			_ = dir.Close()
		}
	}
	err := a.tree.Delete(ctx, name)
	a.namesChanged()
	a.treeChanged()
	if err == nil || errors.Is(err, folder.ErrLeftover) {
		if cerr := maildirsize.Add(a.root, -bytes, -messages); cerr != nil {
			a.store.env.Log.Warn("cannot count mail in maildirsize", "maildir", a.path, "error", cerr)
		}
	}
	return err
}

// Rename renames a mailbox and its children, with the errors of folder.Tree.Rename.
// Renaming INBOX moves its messages to a new mailbox (RFC 9051 section 6.3.6); if that
// fails, the new mailbox is kept.
func (a *Account) Rename(ctx context.Context, from, to string) error {
	if from == "INBOX" {
		return a.renameInbox(ctx, to)
	}
	err := a.tree.Rename(ctx, from, to)
	a.namesChanged()
	a.treeChanged()
	return err
}

func (a *Account) renameInbox(ctx context.Context, to string) error {
	if err := a.Create(ctx, to, nil); err != nil {
		return err
	}
	src, err := a.Open(ctx, "INBOX")
	if err != nil {
		return err
	}
	defer src.Release()
	dst, err := a.Open(ctx, to)
	if err != nil {
		return err
	}
	defer dst.Release()
	if err := src.CopyMetadata(ctx, dst.Mailbox); err != nil { // RFC 5464 section 4.1
		return err
	}
	for try := 1; ; try++ {
		err := moveAll(ctx, src.Mailbox, dst.Mailbox)
		// Messages that others removed meanwhile must not prevent moving the rest.
		if !errors.Is(err, mailbox.ErrGone) || try == moveTries {
			return err
		}
	}
}

// moveTries limits how often the messages of INBOX are moved while others keep removing
// some of them.
const moveTries = 10

func moveAll(ctx context.Context, src, dst *mailbox.Mailbox) error {
	v, err := src.NewView(ctx, false, nil)
	if err != nil {
		return err
	}
	defer v.Close()
	var uids []uint32
	for m := range v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		uids = append(uids, m.UID)
	}
	if src.Broken() { // these may not be all
		return mailbox.ErrReplaced
	}
	_, err = v.Move(ctx, uids, dst)
	return err
}
