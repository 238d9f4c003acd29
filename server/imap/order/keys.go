// Package order provides what SORT and THREAD (RFC 5256, RFC 5957) compare: Keys are the sort
// keys from the header of a message, which the cache keeps as cache.Order, and a Place is the
// position that any of them, in any order, give a message.
package order

import (
	"encoding/binary"
	"iter"

	"maildird/maildir/message"
	"maildird/server/imap/casemap"
)

// Keys are the sort keys from the header of a message, ready to be compared. The cache keeps
// them as cache.Order. They refer to the octets that they were parsed from.
type Keys struct {
	Sent  int64 // of the Date field, as Unix time; valid if Dated
	Dated bool
	Reply bool          // the subject is that of a reply or a forwarded message
	Texts [texts][]byte // indexed by Text
	// The identifiers of the message itself, which may be empty, and of the messages that it
	// refers to, in the form of appendPiece.
	ids []byte
}

// Text is an index of Keys.Texts. The texts are in the form of casemap.Append, and are
// truncated if they are very long.
type Text uint8

const (
	BaseSubject Text = iota // RFC 5256 section 2.1
	FromMailbox             // addr-mailbox of the first address, like the next two
	ToMailbox
	CCMailbox
	FromDisplayed // the displayed name of the first address (RFC 5957 section 3)
	ToDisplayed
	texts
)

const (
	// maxText is the maximum length of a text in octets: texts are compared only up to there.
	maxText = 2 << 10
	// maxReferences is the maximum number of ancestors of a message. The first ones determine
	// the root of the thread, the last ones the place in it.
	maxReferences = 200
)

// When the output of Append changes, cache.Format must change, too.

// It consists of flags (1: dated, 2: reply), sent (8 octets, little-endian), the texts, and the
// identifiers up to the end.
const keysHead = 9

// Append appends the keys of a message in the form that Parse reads. head is its header
// with CRLF line ends.
func Append(b, head []byte) []byte {
	o := message.ParseOrder(head)
	base, reply := message.BaseSubject(o.Subject)
	sent, dated := message.ParseDate(o.Date)
	marks := byte(0)
	if dated {
		marks |= 1
	}
	if reply {
		marks |= 2
	}
	b = binary.LittleEndian.AppendUint64(append(b, marks), uint64(sent.Unix()))
	for _, text := range [texts]string{
		BaseSubject: base,
		FromMailbox: addrMailbox(o.From), ToMailbox: addrMailbox(o.To), CCMailbox: addrMailbox(o.Cc),
		FromDisplayed: displayName(o.From), ToDisplayed: displayName(o.To),
	} {
		folded := casemap.Append(nil, []byte(text))
		b = appendPiece(b, folded[:min(len(folded), maxText)])
	}
	id := ""
	if ids := message.MessageIDs(o.MessageID); len(ids) > 0 {
		id = ids[0]
	}
	b = appendPiece(b, []byte(id))
	for _, id := range references(o) {
		b = appendPiece(b, []byte(id))
	}
	return b
}

// references returns the identifiers of the messages that a message refers to, the oldest first
// (RFC 5256 section 3, REFERENCES).
func references(o *message.Order) []string {
	ids := message.MessageIDs(o.References)
	if len(ids) == 0 {
		ids = message.MessageIDs(o.InReplyTo)
		ids = ids[:min(len(ids), 1)]
	}
	if n := len(ids); n > maxReferences {
		ids = append(ids[:maxReferences/2:maxReferences/2], ids[n-maxReferences/2:]...)
	}
	return ids
}

// addrMailbox returns the addr-mailbox of an address.
func addrMailbox(a *message.Address) string {
	if a == nil || a.Mailbox == message.MissingMailbox {
		return ""
	}
	return a.Mailbox
}

// displayName returns the displayed name of an address (RFC 5957 section 3).
func displayName(a *message.Address) string {
	switch {
	case a == nil:
		return ""
	case a.Kind == message.GroupStart:
		return message.DecodeHeader(a.Mailbox)
	case a.Name != "":
		return message.DecodeHeader(a.Name)
	case a.Mailbox == message.MissingMailbox:
		return ""
	case a.Host == message.MissingDomain:
		return a.Mailbox
	}
	return a.Mailbox + "@" + a.Host
}

// Parse reads the output of Append; ok is false for anything else.
func (o *Keys) Parse(b []byte) (ok bool) {
	if len(b) < keysHead {
		return false
	}
	o.Dated, o.Reply = b[0]&1 != 0, b[0]&2 != 0
	o.Sent = int64(binary.LittleEndian.Uint64(b[1:]))
	b = b[keysHead:]
	for i := range o.Texts {
		if o.Texts[i], b, ok = cutPiece(b); !ok {
			return false
		}
	}
	o.ids = b
	for len(b) > 0 {
		if _, b, ok = cutPiece(b); !ok {
			return false
		}
	}
	return len(o.ids) > 0
}

// IDs returns the identifier of the message, empty if it has none, and then those of the
// messages that it refers to, the oldest first.
func (o *Keys) IDs() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for ids := o.ids; len(ids) > 0; {
			var id []byte
			if id, ids, _ = cutPiece(ids); !yield(id) {
				return
			}
		}
	}
}

// appendPiece appends the length of a piece and the piece.
func appendPiece(b, piece []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(piece))), piece...)
}

// cutPiece takes a piece from the front; ok is false if it is incomplete.
func cutPiece(b []byte) (piece, rest []byte, ok bool) {
	n := uint64(0)
	for i := 0; i < len(b) && i < 4; i++ {
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			b = b[i+1:]
			if n > uint64(len(b)) {
				break
			}
			return b[:n], b[n:], true
		}
	}
	return piece, b, false
}
