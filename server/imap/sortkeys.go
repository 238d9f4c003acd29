package imap

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"maildird/maildir/mailbox"
	"maildird/maildir/message"
)

// sortKey is one of the criteria of SORT.
type sortKey struct {
	by      *sortCriterion
	reverse bool
}

// sortCriterion is a property by which messages are ordered. One of the two
// functions is set.
type sortCriterion struct {
	text   func(*sortee) []byte // compared as i;unicode-casemap does
	number func(*sortee) int64
	header bool // the header is needed
}

// sortCriteria are the words of SORT's list (RFC 5256 section 3, RFC 5957).
func sortCriteria() map[string]*sortCriterion {
	first := func(list func(*message.Envelope) []message.Address, text func([]message.Address) string) *sortCriterion {
		return &sortCriterion{header: true, text: func(m *sortee) []byte {
			return appendCasemap(nil, []byte(text(list(m.envelope()))))
		}}
	}
	from := func(e *message.Envelope) []message.Address { return e.From }
	to := func(e *message.Envelope) []message.Address { return e.To }
	cc := func(e *message.Envelope) []message.Address { return e.Cc }
	return map[string]*sortCriterion{
		"ARRIVAL":     {number: func(m *sortee) int64 { return m.arrival().Unix() }},
		"CC":          first(cc, firstMailbox),
		"DATE":        {header: true, number: func(m *sortee) int64 { return m.sent().Unix() }},
		"FROM":        first(from, firstMailbox),
		"SIZE":        {number: (*sortee).size},
		"SUBJECT":     {header: true, text: func(m *sortee) []byte { base, _ := m.subject(); return base }},
		"TO":          first(to, firstMailbox),
		"DISPLAYFROM": first(from, displayName),
		"DISPLAYTO":   first(to, displayName),
	}
}

// firstMailbox is the addr-mailbox of the first address.
func firstMailbox(list []message.Address) string {
	if len(list) == 0 || list[0].Mailbox == message.MissingMailbox {
		return ""
	}
	return list[0].Mailbox
}

// displayName is what a client would show of the first address (RFC 5957
// section 3).
func displayName(list []message.Address) string {
	if len(list) == 0 {
		return ""
	}
	a := list[0]
	switch {
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

// sortee is a message that is put in an order. It reads what it is asked for.
type sortee struct {
	reader *headerReader
	m      mailbox.Message
	head   []byte // of the header; nil until it was read
	env    *message.Envelope
	text   *message.Envelope // without addresses
}

func (m *sortee) envelope() *message.Envelope {
	if m.env == nil {
		m.env = message.ParseEnvelope(m.head)
	}
	return m.env
}

// texts is envelope for who needs no address.
func (m *sortee) texts() *message.Envelope {
	if m.text == nil {
		m.text = message.ParseEnvelopeTexts(m.head)
	}
	return m.text
}

func (m *sortee) arrival() time.Time {
	t, err := m.reader.s.sel.view.Date(m.m)
	m.reader.failed(m.m, err)
	return t
}

func (m *sortee) size() int64 {
	n, err := m.reader.s.sel.view.Size(m.m, m.reader.s.interrupted)
	m.reader.failed(m.m, err)
	return n
}

// sent is the Date of the header, or the time of arrival if that tells nothing.
func (m *sortee) sent() time.Time {
	if e := m.texts(); e.HasDate {
		if t, ok := message.ParseDate(e.Date); ok {
			return t
		}
	}
	return m.arrival()
}

// subject is the base subject in the form of appendCasemap.
func (m *sortee) subject() (base []byte, reply bool) {
	text, reply := message.BaseSubject(m.texts().Subject)
	return appendCasemap(nil, []byte(text)), reply
}

// headerReader reads the headers of many messages for one command. What cannot
// be read is as if it were empty, and the command says so in the end; a message
// that is gone is left out, as by SEARCH.
type headerReader struct {
	s       *session
	cached  *mailbox.Cached
	lacking lacking
	mf      *mailFile // of the message whose header is in use
}

func newHeaderReader(s *session, l lacking) *headerReader {
	return &headerReader{s: s, cached: s.sel.view.Cached(), lacking: l}
}

func (r *headerReader) close() {
	r.closeMail()
	r.cached.Close()
}

func (r *headerReader) closeMail() {
	if r.mf != nil {
		r.mf.close()
		r.mf = nil
	}
}

// each calls read with each message, with its header if that is asked for, and
// then keep unless the message turned out to be gone. What they keep of the header
// is their own copy: the next message overwrites it.
func (r *headerReader) each(msgs []mailbox.Message, header bool, read func(*sortee), keep func()) error {
	for i, m := range msgs {
		if err := r.s.working(i, len(msgs)); err != nil {
			return err
		}
		if r.one(m, header, read) {
			keep()
		}
	}
	return nil
}

// one is each for one message. It tells whether the message is there.
func (r *headerReader) one(m mailbox.Message, header bool, read func(*sortee)) bool {
	one := sortee{reader: r, m: m}
	if header {
		one.head = r.read(m)
	}
	read(&one)
	gone := r.lacking.gone
	r.lacking.gone = false
	return !gone
}

// read returns the header of a message, good until the next call.
func (r *headerReader) read(m mailbox.Message) []byte {
	r.closeMail()
	rec, _ := r.cached.Read(m)
	r.mf = newMail(r.s.sel.view, m, nil, rec, r.s.interrupted)
	head, err := r.mf.header()
	r.failed(m, err)
	r.mf.remember()
	return head
}

func (r *headerReader) failed(m mailbox.Message, err error) {
	if err != nil {
		r.s.lack(&r.lacking, m, err)
	}
}

// sortedMessage is a message with its values for the criteria, in their order.
type sortedMessage struct {
	m       mailbox.Message
	texts   [][]byte
	numbers []int64
}

// sorted puts messages, which come in the order of the mailbox, in that of the
// criteria. Equal ones stay in the order of the mailbox, also under REVERSE
// (RFC 5256 section 3).
func (r *headerReader) sorted(msgs []mailbox.Message, keys []sortKey) ([]mailbox.Message, error) {
	rows := make([]sortedMessage, 0, len(msgs))
	var row sortedMessage
	err := r.each(msgs, needHeaders(keys), func(m *sortee) { row = m.row(keys) }, func() { rows = append(rows, row) })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b sortedMessage) int { return a.compare(&b, keys) })
	out := make([]mailbox.Message, len(rows))
	for i := range rows {
		out[i] = rows[i].m
	}
	return out, nil
}

func needHeaders(keys []sortKey) bool {
	return slices.ContainsFunc(keys, func(k sortKey) bool { return k.by.header })
}

// row gives the values of a message for the criteria.
func (m *sortee) row(keys []sortKey) sortedMessage {
	row := sortedMessage{m: m.m, texts: make([][]byte, len(keys)), numbers: make([]int64, len(keys))}
	for j, k := range keys {
		if k.by.text != nil {
			row.texts[j] = k.by.text(m)
		} else {
			row.numbers[j] = k.by.number(m)
		}
	}
	return row
}

// compare is the order of two messages by the criteria, 0 if they are equal.
func (a *sortedMessage) compare(b *sortedMessage, keys []sortKey) int {
	for j, k := range keys {
		c := cmp.Or(bytes.Compare(a.texts[j], b.texts[j]), cmp.Compare(a.numbers[j], b.numbers[j]))
		if k.reverse {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}
