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

// A message's GUID stays the same when the message is copied or moved. It is the field G of
// its record in dovecot-uidlist or, if the record has no such field, the base of its file
// name, as in Dovecot.

// guidOf returns the GUID of a row with this base. m.mu is held.
func (m *Mailbox) guidOf(n uint32, base string) string {
	if guid := guidField(m.t.Ext(n)); guid != "" {
		return guid
	}
	return baseGUID(base)
}

// setExt stores the fields of a row's record if they contain a GUID. m.mu is held.
func (m *Mailbox) setExt(n uint32, ext string) {
	if guidField(ext) == "" {
		ext = ""
	}
	m.t.SetExt(n, ext)
}

// guidField returns the value of the field G, "" if there is none.
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

// baseGUID returns the GUID of a message whose record has none. A base that cannot be
// written to the record of a copy is replaced by its hash.
func baseGUID(base string) string {
	if strings.IndexFunc(base, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) < 0 {
		return base
	}
	sum := sha256.Sum256([]byte(base))
	return hex.EncodeToString(sum[:16])
}

// GUID returns an identifier that a message shares with its copies in any mailbox, and with
// no other message.
func (v *View) GUID(msg Message) string {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	return v.m.guidOf(msg.row, string(v.m.t.Base(msg.row)))
}

// ID returns an identifier of the mailbox, consisting of letters, digits and "-". It stays
// the same when the mailbox is renamed, for as long as UIDVALIDITY does. If another program
// made the folder and it has no GUID yet, ID assigns one. A copy of the folder's directory
// has the same ID: see RenewID.
func (m *Mailbox) ID(ctx context.Context) (string, error) {
	if err := m.Poll(ctx); err != nil {
		return "", err
	}
	return m.knownID(ctx)
}

// MailboxID is like Mailbox.ID, as of the last look at the files, such as the one by
// NewView.
func (v *View) MailboxID(ctx context.Context) (string, error) { return v.m.knownID(ctx) }

func (m *Mailbox) knownID(ctx context.Context) (string, error) {
	m.mu.RLock()
	guid, unwritable := m.head.guid, m.unwritable
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
	if m.head.guid == "" {
		// This process cannot rename the folder, and no UIDVALIDITY is assigned twice.
		return fmt.Sprintf("none-%d", m.head.validity), nil
	}
	return IDOf(uidlist.Header{GUID: m.head.guid, UIDValidity: m.head.validity}), nil
}

// IDOf returns the ID of the mailbox whose uidlist has this header, "" if it has none yet.
func IDOf(h uidlist.Header) string {
	if h.GUID == "" || h.UIDValidity == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", strings.ToLower(h.GUID), h.UIDValidity)
}

// IsCopy reports whether the folder was found, since it was opened, to be a copy of another
// folder, or one restored from a backup.
func (m *Mailbox) IsCopy() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.copied
}

// RenewID assigns a new ID if the mailbox has the given one. UIDVALIDITY, UIDs and
// everything else that clients know stay the same.
func (m *Mailbox) RenewID(ctx context.Context, id string) error {
	return m.change(ctx, func(*dotlock.Lock) error {
		if IDOf(m.list.Header()) != id {
			return nil
		}
		err := m.list.RenewGUID()
		m.takeHead()
		return err
	})
}
