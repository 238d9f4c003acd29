package imap

import (
	"cmp"
	"slices"

	"maildird/maildir/mailbox"
	"maildird/server/imap/order"
)

// placer finds the places of messages among others that are already sorted, the members. It
// reads only those members that a binary search visits.
type placer struct {
	reader  *headerReader
	keys    []sortKey // the order is by these
	members int
	member  func(i int) (m mailbox.Message, ok bool) // ok is false if the message is gone
	maker   order.PlaceMaker
	rows    map[int]*placedMessage // members that were read, by index; nil for one that is gone
}

// placedMessage is a message and its place.
type placedMessage struct {
	order.Place
	m mailbox.Message
}

func newPlacer(r *headerReader, keys []sortKey, members int, member func(i int) (mailbox.Message, bool)) *placer {
	return &placer{reader: r, keys: keys, members: members, member: member, rows: map[int]*placedMessage{}}
}

// places sorts messages, leaving out those that are gone, and returns for each the index of the
// member that it belongs before.
func (p *placer) places(msgs []mailbox.Message) ([]mailbox.Message, []int, error) {
	rows := make([]placedMessage, 0, len(msgs))
	for _, m := range msgs {
		if err := p.reader.interrupted(); err != nil {
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
		if err := p.reader.interrupted(); err != nil {
			return nil, nil, err
		}
		from = p.place(&rows[i], from)
		places[i], ordered[i] = from, rows[i].m
	}
	return ordered, places, nil
}

// compare compares two messages. Equal messages keep the order of the mailbox.
func (p *placer) compare(a, b *placedMessage) int {
	return cmp.Or(a.Place.Compare(&b.Place), cmp.Compare(a.m.UID, b.m.UID))
}

// place returns the place of a message among the members from index from on.
func (p *placer) place(row *placedMessage, from int) int {
	to := p.members
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

// readable returns the index of a member in [from, to) that can be compared, as near to the
// middle as possible, or -1. It skips members whose files are gone, which the client may not
// know yet: the others are in order without them.
func (p *placer) readable(from, to int) int {
	middle := from + (to-from)/2
	for i := middle; i >= from; i-- {
		if p.row(i) != nil {
			return i
		}
	}
	for i := middle + 1; i < to; i++ {
		if p.row(i) != nil {
			return i
		}
	}
	return -1
}

func (p *placer) row(i int) *placedMessage {
	row, known := p.rows[i]
	if !known {
		if m, ok := p.member(i); ok {
			row = p.read(m)
		}
		p.rows[i] = row
	}
	return row
}

// read returns what a message is compared by, nil if it is gone.
func (p *placer) read(m mailbox.Message) *placedMessage {
	row := &placedMessage{m: m}
	if !p.reader.reads(m, needHeaders(p.keys), func(one *sortee) { row.Place = p.reader.placeOf(&p.maker, one, p.keys) }) {
		return nil
	}
	return row
}
