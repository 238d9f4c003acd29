package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"maildird/maildir/dotlock"
	"maildird/maildir/uidlist"
)

// A message's GUID stays the same when the message is copied or moved: it is
// the field G of its record in dovecot-uidlist, or, as in Dovecot, the base of
// its file name if the record has no such field.

// guidOf returns the GUID of a row with this base. m.mu is held.
func (m *Mailbox) guidOf(n uint32, base string) string {
	if guid := guidField(m.t.Ext(n)); guid != "" {
		return guid
	}
	return baseGUID(base)
}

// setExt takes the fields of a row's record, if a GUID is among them. m.mu is held.
func (m *Mailbox) setExt(n uint32, ext string) {
	if guidField(ext) == "" {
		ext = ""
	}
	m.t.SetExt(n, ext)
}

// guidField finds the field G.
func guidField(ext string) string {
	for ext != "" {
		var field string
		field, ext, _ = strings.Cut(ext, " ")
		if len(field) > 1 && field[0] == 'G' {
			return field[1:]
		}
	}
	return ""
}

// baseGUID is the GUID of a message whose record has none. One that could not
// stand in a record of a copy is replaced by its hash.
func baseGUID(base string) string {
	if strings.IndexFunc(base, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) < 0 {
		return base
	}
	sum := sha256.Sum256([]byte(base))
	return hex.EncodeToString(sum[:16])
}

// GUID returns what a message has in common with its copies in any mailbox, and
// with no other message.
func (v *View) GUID(msg Message) string {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.guidOf(msg.row, string(v.m.t.Base(msg.row)))
}

// ID returns what tells the mailbox from others, letters, digits and "-": it stays
// when the mailbox is renamed, and as long as UIDVALIDITY does. A folder of another
// program's, which has no GUID yet, gets one. A copy of the folder's directory has the
// same: see RenewID.
func (m *Mailbox) ID(ctx context.Context) (string, error) {
	if err := m.Poll(ctx); err != nil {
		return "", err
	}
	return m.knownID(ctx)
}

// MailboxID is Mailbox.ID as the mailbox was when somebody looked last, as NewView does.
func (v *View) MailboxID(ctx context.Context) (string, error) { return v.m.knownID(ctx) }

func (m *Mailbox) knownID(ctx context.Context) (string, error) {
	m.mu.RLock()
	guid, unwritable := m.guid, m.unwritable
	m.mu.RUnlock()
	if guid == "" && !unwritable {
		err := m.change(ctx, func(*dotlock.Lock) error {
			h := m.list.Header()
			if h.UIDValidity == 0 || h.GUID != "" {
				return nil
			}
			return m.rewrite(h)
		})
		if err != nil {
			return "", err
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.guid == "" {
		// It cannot be renamed by us, and UIDVALIDITY is not given twice.
		return fmt.Sprintf("none-%d", m.validity), nil
	}
	return IDOf(uidlist.Header{GUID: m.guid, UIDValidity: m.validity}), nil
}

// IDOf is the ID of the mailbox whose list begins like this, "" if it has none yet.
func IDOf(h uidlist.Header) string {
	if h.GUID == "" || h.UIDValidity == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", strings.ToLower(h.GUID), h.UIDValidity)
}

// IsCopy tells whether the folder turned out to be a copy since it was opened: one of
// another folder, or one that was put back from a backup.
func (m *Mailbox) IsCopy() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.copied
}

// RenewID gives the mailbox another ID if it has this one. UIDVALIDITY, UIDs and all
// else that clients know stay.
func (m *Mailbox) RenewID(ctx context.Context, id string) error {
	return m.change(ctx, func(*dotlock.Lock) error {
		if IDOf(m.list.Header()) != id {
			return nil
		}
		err := m.list.RenewGUID()
		m.mu.Lock()
		m.guid = m.list.Header().GUID
		m.mu.Unlock()
		return err
	})
}
