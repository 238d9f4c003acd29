package mailbox

import (
	"time"

	"maildird/maildir/cache"
)

// texts is what is known of a mailbox's messages from their texts: two boxes, which are told
// the same of each message, and the sort orders derived from them. It may be used
// concurrently. The boxes' locks are never acquired while Mailbox.mu is held; Mailbox.mu may
// be acquired while one of theirs is held.
type texts struct {
	main     *cache.Box // everything but the sort keys
	orders   *cache.Box // the sort keys, in files of its own
	rankings rankings
}

func newTexts(s *cache.Store) texts {
	if s == nil {
		s = cache.New(cache.Options{})
	}
	return texts{main: s.NewBox(), orders: s.NewBox()}
}

// compare reports whether what is cached of a row came from the file src, if anything is.
func (t *texts) compare(row uint32, key cache.Key, src cache.Source, mtime time.Time) bool {
	return t.main.Compare(row, key, src, mtime) && t.orders.Compare(row, key, src, mtime)
}

// doubts reports whether anything is cached of a row and came from a file with another inode
// number.
func (t *texts) doubts(row, inode uint32) bool {
	return t.main.Doubts(row, inode) || t.orders.Doubts(row, inode)
}

// outdate drops what is cached of a row whose file turned out to be a different one.
func (t *texts) outdate(row uint32, key cache.Key) {
	t.main.Outdate(row, key)
	t.orders.Outdate(row, key)
}

// forgotten returns how often data of a text was dropped: what was derived from it before may
// be wrong.
func (t *texts) forgotten() uint64 { return t.main.Forgotten() + t.orders.Forgotten() }

// flush writes what was added.
func (t *texts) flush() {
	t.main.Flush()
	t.orders.Flush()
}

// forget drops a row whose message is gone.
func (t *texts) forget(row uint32) {
	t.main.Forget(row)
	t.orders.Forget(row)
}

func (t *texts) close() {
	t.main.Close()
	t.orders.Close()
}
