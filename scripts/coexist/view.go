package coexist

import (
	"fmt"
	"slices"
	"strings"
)

// View is what an IMAP client knows about the selected mailbox. It is maintained from the
// server's responses, and detects responses that make no sense.
type View struct {
	c      *Client
	ledger *Ledger
	folder string
	uids   []uint32          // by sequence number; 0 if not known yet
	ids    map[uint32]string // Message-ID by UID
	gone   bool              // the server sent BYE
}

// NewView returns a view without a selected mailbox.
func NewView(c *Client, l *Ledger) *View {
	v := &View{c: c, ledger: l, ids: map[uint32]string{}}
	c.untagged = v.take
	return v
}

// Select selects a mailbox and fetches everything.
func (v *View) Select(folder string) error {
	v.folder, v.uids, v.ids = folder, nil, map[uint32]string{}
	opened, err := v.c.Do("SELECT %s", quote(folder))
	if err != nil {
		return err
	}
	for _, r := range opened {
		if n, ok := code(r.Text, "UIDVALIDITY", 32); ok && r.Name == "OK" {
			v.ledger.Validity(v.c.Server, folder, uint32(n))
		}
	}
	return v.learn()
}

// learn fetches the messages that the client does not know yet.
func (v *View) learn() error {
	for range 20 {
		first := slices.Index(v.uids, 0)
		if first < 0 {
			return nil
		}
		if _, err := v.c.Do("FETCH %d:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", first+1); err != nil {
			return err
		}
	}
	return nil // others add messages too fast; continue next time
}

// Refresh polls for changes.
func (v *View) Refresh() error {
	if _, err := v.c.Do("NOOP"); err != nil {
		return err
	}
	return v.learn()
}

func (v *View) take(r Response) error {
	nonsense := func(why string) error {
		err := fmt.Errorf("%s sent %q in %s: %s", v.c.Server, r.Text, v.folder, why)
		v.ledger.Fault("%v", err)
		return err
	}
	switch r.Name {
	case "BYE":
		v.gone = true
	case "EXISTS":
		if int(r.Number) < len(v.uids) {
			return nonsense(fmt.Sprintf("the client knows %d messages", len(v.uids)))
		}
		v.uids = append(v.uids, make([]uint32, int(r.Number)-len(v.uids))...)
	case "EXPUNGE":
		if r.Number == 0 || int(r.Number) > len(v.uids) {
			return nonsense(fmt.Sprintf("the client knows %d messages", len(v.uids)))
		}
		delete(v.ids, v.uids[r.Number-1])
		v.uids = slices.Delete(v.uids, int(r.Number)-1, int(r.Number))
	case "FETCH":
		return v.fetched(r, nonsense)
	}
	return nil
}

func (v *View) fetched(r Response, nonsense func(string) error) error {
	m, whole, err := message(r)
	if err != nil {
		return nonsense(err.Error())
	}
	if r.Number == 0 || int(r.Number) > len(v.uids) {
		return nonsense(fmt.Sprintf("the client knows %d messages", len(v.uids)))
	}
	if m.UID == 0 {
		return nil
	}
	at := int(r.Number) - 1
	if have := v.uids[at]; have != 0 && have != m.UID {
		return nonsense(fmt.Sprintf("that message has UID %d", have))
	}
	v.uids[at] = m.UID
	if at > 0 && v.uids[at-1] >= m.UID {
		return nonsense(fmt.Sprintf("the message before has UID %d", v.uids[at-1]))
	}
	if whole && m.ID != "" {
		v.ids[m.UID] = m.ID
		v.ledger.Saw(v.c.Server, v.folder, m.UID, m.ID)
	}
	return nil
}

// Known returns the UIDs of the messages with a known Message-ID.
func (v *View) Known() []uint32 {
	return slices.DeleteFunc(slices.Clone(v.uids), func(uid uint32) bool { return v.ids[uid] == "" })
}

// Has reports whether a UID is in the view.
func (v *View) Has(uid uint32) bool { return slices.Contains(v.uids, uid) }

// set returns a set of UIDs.
func set(uids []uint32) string {
	words := make([]string, len(uids))
	for i, uid := range uids {
		words[i] = fmt.Sprint(uid)
	}
	return strings.Join(words, ",")
}
