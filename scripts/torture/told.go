package torture

import (
	"context"
	"fmt"

	"maildird/maildir/mailbox"
)

// told is what a client knows of a mailbox, and the mod-sequence up to which it knows it.
type told struct {
	place
	acks   int // after that many acknowledgements
	modseq uint64
	mail   map[string]letter
}

// check returns an error if the client, when it returns, is not told of a message that it
// knows in another state, or that is gone.
func (c *told) check(v *mailbox.View, found map[string][]letter) error {
	since, err := v.Since(context.Background(), c.modseq)
	if err != nil {
		return err
	}
	if now := v.HighestModSeq(); now < c.modseq {
		return fmt.Errorf("the highest mod-sequence is %d, a client knows %d", now, c.modseq)
	}
	ranges, err := v.Vanished(context.Background(), []mailbox.Range{{First: 1, Last: ^uint32(0)}}, c.modseq)
	if err != nil {
		return err
	}
	heard := map[uint32]bool{}
	for m := range v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		heard[m.UID] = m.ModSeq > since
	}
	for id, l := range c.mail {
		if l.uid == 0 || len(found[id]) == 1 && found[id][0] == l {
			continue
		}
		vanished := false
		for _, r := range ranges {
			vanished = vanished || r.First <= l.uid && l.uid <= r.Last
		}
		if !heard[l.uid] && !vanished {
			return fmt.Errorf("a client that knows %s as %+v at %d is not told of its change to %+v", id, l, c.modseq, found[id])
		}
	}
	return nil
}
