package imap

import (
	"cmp"
	"slices"

	"maildird/maildir/mailbox"
	"maildird/server/imap/order"
)

// placer finds the places of messages in the result of a SORT. Of the members
// only those are read that a binary search meets.
type placer struct {
	c      *searchContext
	reader *headerReader
	maker  order.PlaceMaker
	rows   map[int]*placedMessage // of members, by index; nil for one that is gone
}

// placedMessage is a message with its place.
type placedMessage struct {
	order.Place
	m mailbox.Message
}

func newPlacer(s *session, c *searchContext) *placer {
	return &placer{c: c, reader: newHeaderReader(s, lacking{}), rows: map[int]*placedMessage{}}
}

func (p *placer) close() { p.reader.close() }

// places puts messages in the order of the result, without those that are gone,
// and tells for each before which index it belongs.
func (p *placer) places(msgs []mailbox.Message) ([]mailbox.Message, []int, error) {
	rows := make([]placedMessage, 0, len(msgs))
	for _, m := range msgs {
		if err := p.reader.s.interrupted(); err != nil {
			return nil, nil, err
		}
		if row := p.read(m); row != nil {
			rows = append(rows, *row)
		}
	}
	slices.SortFunc(rows, func(a, b placedMessage) int { return p.compare(&a, &b) })
	places := make([]int, len(rows))
	ordered := make([]mailbox.Message, len(rows))
	from := 0
	for i := range rows {
		if err := p.reader.s.interrupted(); err != nil {
			return nil, nil, err
		}
		from = p.place(&rows[i], from)
		places[i], ordered[i] = from, rows[i].m
	}
	return ordered, places, nil
}

// compare is the order of a result: equal messages are in that of the mailbox.
func (p *placer) compare(a, b *placedMessage) int {
	return cmp.Or(a.Place.Compare(&b.Place), cmp.Compare(a.m.UID, b.m.UID))
}

// place finds the place of a message among the members from an index on.
func (p *placer) place(row *placedMessage, from int) int {
	to := len(p.c.members)
	for from < to {
		i := p.readable(from, to)
		switch {
		case i < 0:
			return from
		case p.compare(row, p.rows[i]) < 0:
			to = i
		default:
			from = i + 1
		}
	}
	return from
}

// readable gives the index of a member about in the middle of from and to that
// can be compared, -1 for none: a file may be gone while the client does not
// know that yet. The others are in order without it.
func (p *placer) readable(from, to int) int {
	middle := from + (to-from)/2
	for i := middle; i >= from; i-- {
		if p.member(i) != nil {
			return i
		}
	}
	for i := middle + 1; i < to; i++ {
		if p.member(i) != nil {
			return i
		}
	}
	return -1
}

func (p *placer) member(i int) *placedMessage {
	if row, known := p.rows[i]; known {
		return row
	}
	p.rows[i] = nil
	uid := p.c.members[i]
	for m := range p.reader.s.sel.view.Messages([]mailbox.Range{{First: uid, Last: uid}}, true) {
		p.rows[i] = p.read(m)
	}
	return p.rows[i]
}

// read gives what a message is compared by, nil if it is gone.
func (p *placer) read(m mailbox.Message) *placedMessage {
	row := &placedMessage{m: m}
	if !p.reader.reads(m, needHeaders(p.c.order), func(one *sortee) { row.Place = placeOf(&p.maker, one, p.c.order) }) {
		return nil
	}
	return row
}
