package imap

import (
	"slices"

	"maildird/maildir/mailbox"
)

// sorted sorts messages, which are given in the order of the mailbox. Equal messages stay in
// that order, also under REVERSE (RFC 5256 section 3). It uses an order that the mailbox
// remembers: only messages that are not in it are read, and inserted in their places.
func (r *headerReader) sorted(msgs []mailbox.Message, keys []sortKey) ([]mailbox.Message, error) {
	if !remembered(keys) {
		return r.sortedAnew(msgs, keys)
	}
	ranking := r.s.sel.view.Ranking(orderName(keys))
	known, rest := ranking.Known(msgs)
	if len(rest) == 0 {
		return known, nil
	}
	var out []mailbox.Message
	var err error
	if insertionCost*len(rest) <= len(known) {
		out, err = r.inserted(known, rest, keys)
	} else {
		out, err = r.sortedAnew(msgs, keys)
	}
	if err == nil {
		ranking.Remember(out)
	}
	return out, err
}

// insertionCost is the number of messages that can be sorted in about the time that it
// takes to insert one.
const insertionCost = 32

// remembered reports whether the mailbox remembers an order. It does so if the order requires
// headers, but not with SIZE, since the size that is known of a message may be corrected later.
func remembered(keys []sortKey) bool {
	return needHeaders(keys) && !slices.ContainsFunc(keys, func(k sortKey) bool { return k.by.word == "SIZE" })
}

// orderName returns the criteria as a client would write them.
func orderName(keys []sortKey) string {
	var b []byte
	for _, k := range keys {
		if k.reverse {
			b = append(b, "REVERSE "...)
		}
		b = append(append(b, k.by.word...), ' ')
	}
	return string(b)
}

// inserted inserts messages in their places among others that are sorted.
func (r *headerReader) inserted(others, msgs []mailbox.Message, keys []sortKey) ([]mailbox.Message, error) {
	p := newPlacer(r, keys, len(others), func(i int) (mailbox.Message, bool) { return others[i], true })
	msgs, places, err := p.places(msgs)
	if err != nil {
		return nil, err
	}
	out := make([]mailbox.Message, 0, len(others)+len(msgs))
	from := 0
	for i, m := range msgs {
		out = append(append(out, others[from:places[i]]...), m)
		from = places[i]
	}
	return append(out, others[from:]...), nil
}
