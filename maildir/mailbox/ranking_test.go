package mailbox

import (
	"slices"
	"testing"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/filename"
)

// rankingBox is a mailbox whose cache can have the sort keys of messages.
type rankingBox struct {
	*box
	m *Mailbox
	c *client
}

func newRankingBox(t *testing.T, messages int) *rankingBox {
	env := newEnv(t)
	env.Cache = cache.New(cache.Options{Dir: t.TempDir(), Log: env.Log})
	t.Cleanup(func() { must(t, env.Cache.Close()) })
	env.Now = func() time.Time { return time.Now().Add(2 * settling) }
	b := &rankingBox{box: newBox(t)}
	for range messages {
		b.drop("cur/")
	}
	b.m = b.open(env)
	t.Cleanup(b.m.Close)
	b.c = b.connect()
	return b
}

func (b *rankingBox) connect() *client {
	c := connect(b.t, b.m, false)
	b.t.Cleanup(c.v.Close)
	return c
}

// keep stores the sort keys of messages in the cache.
func (b *rankingBox) keep(msgs []Message) {
	b.t.Helper()
	orders := b.c.v.Orders()
	defer orders.Close()
	for _, m := range msgs {
		date, err := b.c.v.Date(m)
		must(b.t, err)
		rec := cache.Record{Size: 1, Mtime: date, Virtual: -1}
		rec.Set(cache.Order, []byte("keys"))
		orders.Keep(m, &rec)
	}
}

// known checks which of all messages are remembered, by UID, and in which order.
func (b *rankingBox) known(c *client, by string, want ...uint32) {
	b.t.Helper()
	all := c.all()
	known, rest := c.v.Ranking(by).Known(all)
	if got := uidsOf(known); !slices.Equal(got, want) {
		b.t.Errorf("%s: %d are known, want %d", by, got, want)
	}
	all = slices.DeleteFunc(all, func(m Message) bool { return slices.Contains(want, m.UID) })
	if got := uidsOf(rest); !slices.Equal(got, uidsOf(all)) {
		b.t.Errorf("%s: the rest is %d, want %d", by, got, uidsOf(all))
	}
}

func uidsOf(msgs []Message) (uids []uint32) {
	for _, m := range msgs {
		uids = append(uids, m.UID)
	}
	return uids
}

// backward returns all messages, the last one first.
func (b *rankingBox) backward() []Message {
	all := b.c.all()
	slices.Reverse(all)
	return all
}

func TestRankingHasWhatTheCacheHas(t *testing.T) {
	b := newRankingBox(t, 4)
	b.keep(b.c.all()[1:])
	b.known(b.c, "a")
	b.c.v.Ranking("a").Remember(b.backward())
	b.known(b.c, "a", 4, 3, 2)
	b.known(b.c, "b")
	b.drop("cur/")
	b.c.poll(true)
	b.known(b.c, "a", 4, 3, 2)
	b.keep(b.c.all())
	b.c.v.Ranking("a").Remember(b.backward())
	b.known(b.c, "a", 5, 4, 3, 2, 1)
	// The keys of a message whose date may still change are not kept.
	b.m.env.Now = time.Now
	b.drop("cur/")
	b.c.poll(true)
	b.keep(b.c.all())
	b.c.v.Ranking("a").Remember(b.backward())
	b.known(b.c, "a", 5, 4, 3, 2, 1)
}

// TestRankingOfFewer: the order of some messages does not replace that of more, as long as
// these exist.
func TestRankingOfFewer(t *testing.T) {
	b := newRankingBox(t, 5)
	b.keep(b.c.all())
	b.c.v.Ranking("a").Remember(b.backward())
	b.c.v.Ranking("a").Remember(b.c.all()[:2])
	b.known(b.c, "a", 5, 4, 3, 2, 1)
	other := b.connect()
	_, err := other.v.Store(ctx, []uint32{1, 2, 3}, Add, filename.Deleted, nil)
	must(t, err)
	_, err = other.v.Expunge(ctx, nil)
	must(t, err)
	b.known(b.c, "a", 5, 4) // the client does not know that they are gone
	b.c.poll(true)
	b.known(b.c, "a", 5, 4)
	b.c.v.Ranking("a").Remember(b.c.all())
	b.known(b.c, "a", 4, 5)
}

func TestRankingsOfOneMailbox(t *testing.T) {
	b := newRankingBox(t, 2)
	b.keep(b.c.all())
	b.c.v.Ranking("a").Remember(b.backward())
	b.c.v.Ranking("b").Remember(b.c.all())
	b.known(b.c, "a", 2, 1)
	b.c.v.Ranking("c").Remember(b.c.all())
	b.known(b.connect(), "a", 2, 1)
	b.known(b.c, "b")
	b.known(b.c, "c", 1, 2)
}

// TestRankingOfAnotherText: nothing is remembered that was derived from a text that turned
// out to be a different one, even if that was found out meanwhile.
func TestRankingOfAnotherText(t *testing.T) {
	b := newRankingBox(t, 3)
	b.keep(b.c.all())
	b.c.v.Ranking("a").Remember(b.backward())
	b.c.v.Forget(b.c.all()[1])
	b.known(b.c, "a")
	b.keep(b.c.all())
	ranking := b.c.v.Ranking("a")
	b.c.v.Forget(b.c.all()[1])
	b.keep(b.c.all())
	ranking.Remember(b.backward())
	b.known(b.c, "a")
	b.c.v.Ranking("a").Remember(b.backward())
	b.known(b.c, "a", 3, 2, 1)
}
