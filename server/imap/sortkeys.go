package imap

import (
	"cmp"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/order"
)

// sortKey is a criterion of a SORT command.
type sortKey struct {
	by      *sortCriterion
	reverse bool
}

// sortCriterion is a property that messages are ordered by: number if that is
// set, otherwise text.
type sortCriterion struct {
	word   string
	number func(*sortee) int64
	text   order.Text
	header bool // the header is needed
}

// sortCriteria returns the words of SORT's list (RFC 5256 section 3, RFC 5957).
func sortCriteria() map[string]*sortCriterion {
	text := func(text order.Text) *sortCriterion { return &sortCriterion{text: text, header: true} }
	criteria := map[string]*sortCriterion{
		"ARRIVAL":     {number: func(m *sortee) int64 { return m.arrival().Unix() }},
		"CC":          text(order.CCMailbox),
		"DATE":        {number: (*sortee).sent, header: true},
		"FROM":        text(order.FromMailbox),
		"SIZE":        {number: (*sortee).size},
		"SUBJECT":     text(order.BaseSubject),
		"TO":          text(order.ToMailbox),
		"DISPLAYFROM": text(order.FromDisplayed),
		"DISPLAYTO":   text(order.ToDisplayed),
	}
	for word, by := range criteria {
		by.word = word
	}
	return criteria
}

// sortee is a message to be sorted, with the keys from its header. Arrival and size, which are
// not in the header, are looked up on demand.
type sortee struct {
	reader *headerReader
	m      mailbox.Message
	*order.Keys
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

// sent returns the date of the header, or the time of arrival if the header has no valid date.
func (m *sortee) sent() int64 {
	if m.Dated {
		return m.Keys.Sent
	}
	return m.arrival().Unix()
}

// headerReader reads the sort keys of many messages for one command. What cannot be read
// counts as empty, and makes the command fail in the end. Messages that are gone are left
// out, as in SEARCH.
type headerReader struct {
	s         *session
	orders    *mailbox.Cached
	cached    *mailbox.Cached // nil until the first header is read
	omissions omissions
	missed    bool       // a message was left out, here or by the preceding search
	one       sortee     // the current message
	order     order.Keys // keys of the current message
	room      []byte     // memory of order, if the cache does not have it

	share   int64 // octets of the user's share of memory that are taken
	tooMuch error // set when there are no more
}

func newHeaderReader(s *session, l omissions) *headerReader {
	r := &headerReader{s: s, orders: s.sel.view.Orders(), omissions: l, missed: l.gone}
	r.omissions.gone = false
	r.one = sortee{reader: r, Keys: &r.order}
	return r
}

func (r *headerReader) close() {
	r.s.srv.sorting.Give(r.s.user.Name, r.share)
	r.orders.Close()
	if r.cached != nil {
		r.cached.Close()
	}
}

// lookEach is the number of messages after which the reader checks whether the
// client is still there.
const lookEach = 16

// each calls read for each message, with its sort keys if header is set, and then keep with its
// index unless the message was gone. The next message overwrites the sort keys, so read must
// copy what it keeps of them.
func (r *headerReader) each(msgs []mailbox.Message, header bool, read func(*sortee), keep func(i int)) error {
	for i := range msgs {
		if i%lookEach == 0 {
			if err := r.s.working(i, len(msgs)); err != nil {
				return err
			}
		}
		if r.reads(msgs[i], header, read) {
			keep(i)
		}
		if r.tooMuch != nil {
			return r.tooMuch
		}
	}
	return nil
}

// holds takes as much of the user's share of memory as the command needs for the texts that it has
// read so far. A message may have megabytes of them, and copies of it take no space on the disk.
func (r *headerReader) holds(octets int64) {
	const step = 1 << 20
	for r.share < octets && r.tooMuch == nil {
		if !r.s.srv.sorting.Take(r.s.user.Name, step) {
			r.tooMuch = no(imap.ResponseCodeLimit, "The texts to be compared take too much memory, try fewer messages.")
			return
		}
		r.share += step
	}
}

// interrupted returns an error if the command must stop.
func (r *headerReader) interrupted() error { return cmp.Or(r.tooMuch, r.s.interrupted()) }

// reads is each for a single message. It reports whether the message exists.
func (r *headerReader) reads(m mailbox.Message, header bool, read func(*sortee)) bool {
	r.one.m = m
	if header {
		r.read(m)
	}
	read(&r.one)
	gone := r.omissions.gone
	r.omissions.gone = false
	r.missed = r.missed || gone
	return !gone
}

// result returns the error of the command.
func (r *headerReader) result() error {
	if r.missed {
		r.s.mentionOmitted()
	}
	return r.omissions.result()
}

// read loads the sort keys of a message from the cache, or from its header.
func (r *headerReader) read(m mailbox.Message) {
	if rec, ok := r.orders.Read(m); ok {
		if b, ok := rec.Get(cache.Order); ok && r.order.Parse(b) {
			return
		}
	}
	if r.cached == nil {
		r.cached = r.s.sel.view.Cached()
	}
	rec, _ := r.cached.Read(m)
	mf := mailfile.New(r.s.sel.view, m, nil, rec, r.s.interrupted)
	defer mf.Close()
	head, err := mf.Header()
	r.failed(m, err)
	mf.Remember()
	r.room = order.Append(r.room[:0], head)
	r.order.Parse(r.room)
	if err == nil && r.s.sel.view.Keeps() {
		own := mf.Stamped()
		own.Set(cache.Order, r.room)
		r.orders.Keep(m, &own)
	}
}

func (r *headerReader) failed(m mailbox.Message, err error) {
	if err != nil {
		r.s.noteOmission(&r.omissions, m, err)
	}
}

// placeOf returns the place of a message by the criteria.
func (r *headerReader) placeOf(p *order.PlaceMaker, m *sortee, keys []sortKey) order.Place {
	for _, k := range keys {
		if k.by.number != nil {
			p.Number(k.by.number(m), k.reverse)
		} else {
			p.Text(m.Texts[k.by.text], k.reverse)
		}
	}
	at := p.Place()
	r.holds(p.Octets())
	return at
}

// sortedAnew is sorted without the use of remembered orders.
func (r *headerReader) sortedAnew(msgs []mailbox.Message, keys []sortKey) ([]mailbox.Message, error) {
	places := make([]order.Place, 0, len(msgs))
	there := make([]uint32, 0, len(msgs)) // indexes of those that are not gone
	var maker order.PlaceMaker
	var at order.Place
	err := r.each(msgs, needHeaders(keys), func(m *sortee) { at = r.placeOf(&maker, m, keys) },
		func(i int) { places, there = append(places, at), append(there, uint32(i)) })
	if err != nil {
		return nil, err
	}
	out := make([]mailbox.Message, len(places))
	for i, n := range order.Sorted(places) {
		out[i] = msgs[there[n]]
	}
	return out, nil
}

func needHeaders(keys []sortKey) bool {
	return slices.ContainsFunc(keys, func(k sortKey) bool { return k.by.header })
}
