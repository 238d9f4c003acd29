package mailbox

import (
	"context"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
)

// Of returns the Env that all mailboxes of one account share.
func (env *Env) Of(account string) *Env {
	own := *env
	own.Account = account
	own.Scratch = compress.NewScratch(compress.ScratchLimit)
	return &own
}

// box makes what keeps the text of one mailbox's messages.
func (env *Env) box() *cache.Box {
	if env.Cache == nil {
		return cache.New(cache.Options{}).NewBox()
	}
	return env.Cache.NewBox()
}

// Cached reads what the cache has of messages, for one command or one helper of
// it. For one goroutine; Close it when done.
type Cached struct {
	ctx    context.Context // of its view
	m      *Mailbox
	box    *cache.Box
	window cache.Window
}

// Cached brings the cache in step with what others added. It may be called by
// several goroutines.
func (v *View) Cached() *Cached {
	v.m.openBox(v.m.cached, "")
	return &Cached{ctx: v.ctx, m: v.m, box: v.m.cached}
}

// Orders is Cached for cache.Order alone. That is little of each message, and has
// files of its own: who puts a mailbox in an order reads nothing else of it.
func (v *View) Orders() *Cached {
	v.m.openBox(v.m.cached, "") // which knows the dates
	v.m.openBox(v.m.orders, ordersSuffix)
	return &Cached{ctx: v.ctx, m: v.m, box: v.m.orders}
}

// ordersSuffix is behind the GUID, or the path, of a mailbox for the files of its
// orders. No path has a NUL.
const ordersSuffix = "\x00order"

// openBox opens a box whose files are those of the mailbox with that behind its
// GUID.
func (m *Mailbox) openBox(box *cache.Box, suffix string) {
	m.mu.RLock()
	id := cache.ID{Account: m.env.Account, GUID: m.guid, UIDValidity: m.validity}
	m.mu.RUnlock()
	if id.GUID == "" {
		id.GUID = m.Path()
	}
	id.GUID += suffix
	box.Open(id, m.cachedRow, m.cachedFile)
}

// cachedRow finds the row of a message in the cache.
func (m *Mailbox) cachedRow(uid uint32) (row uint32, base uint64, inode uint32, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, ok := m.t.ByUID(uid)
	if !ok || m.t.Row(n).State == table.Expunged {
		return 0, 0, 0, false
	}
	return n, cache.BaseSum(m.t.Base(n)), m.t.Row(n).Inode, true
}

// cachedFile looks at the file of a row.
func (m *Mailbox) cachedFile(row uint32) (cache.Source, time.Time, bool) {
	e, err := m.location(Message{row: row})
	if err != nil {
		return cache.Source{}, time.Time{}, false
	}
	st, err := m.in(e.where).Lstat(e.name)
	if err != nil {
		return cache.Source{}, time.Time{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.t.Row(row).Inode == 0 {
		m.t.SetInode(row, st.InodeSum())
	}
	return sourceOf(st), st.Mtime, true
}

func sourceOf(st dirfd.Stat) cache.Source {
	return cache.Source{Inode: st.InodeSum(), Length: uint32(st.Size)}
}

// compareCached drops what is cached of a row unless it is of the file that is there.
func (m *Mailbox) compareCached(row uint32, st dirfd.Stat) {
	key := m.cacheKey(row)
	if !m.cached.Compare(row, key, sourceOf(st), st.Mtime) || !m.orders.Compare(row, key, sourceOf(st), st.Mtime) {
		m.outdate(row)
	}
}

// doubtCached does that where what is cached is of a file with another inode number than
// the row's.
func (m *Mailbox) doubtCached(row uint32) {
	m.mu.RLock()
	r := m.t.Row(row)
	inode, e := r.Inode, entry{where: r.Where}
	doubt := inode != 0 && r.State == table.Present
	m.mu.RUnlock()
	if !doubt || !m.cached.Doubts(row, inode) && !m.orders.Doubts(row, inode) {
		return
	}
	e.name = m.nameOf(row)
	if st, err := m.in(e.where).Lstat(e.name); err == nil {
		m.compareCached(row, st)
	} else {
		m.outdate(row)
	}
}

// Close writes what was added and gives back what reading took.
func (c *Cached) Close() {
	c.window.Close()
	c.m.cached.Flush()
	c.m.orders.Flush()
}

// Read returns what the cache has of a message; it is good until the next call.
func (c *Cached) Read(msg Message) (cache.Record, bool) {
	key, ok := c.m.key(msg)
	if !ok {
		return cache.Record{}, false
	}
	r, ok := c.box.Read(&c.window, msg.row, key)
	if ok && c.box == c.m.orders {
		// It is m.cached that hears of another text.
		t, err := c.m.date(c.ctx, msg)
		ok = err == nil && t.Equal(r.Mtime)
	}
	return r, ok
}

// Keep adds what was read of a message.
func (c *Cached) Keep(msg Message, r *cache.Record) { c.m.keep(c.box, msg, r) }

// Keeps tells whether there is a cache at all.
func (v *View) Keeps() bool { return v.m.cached.Keeps() }

// Kept tells which kinds the cache has of a message.
func (v *View) Kept(msg Message) cache.Kinds { return v.m.cached.Kinds(msg.row) }

// Facts is what is known of a message without its file.
type Facts struct {
	cache.Fact
	// Size is the octets in CRLF form, by count or by the file name, negative if
	// neither is known.
	Size int64
}

// Date is the INTERNALDATE, if Dated.
func (f *Facts) Date() time.Time { return time.Unix(0, f.Mtime) }

// Facts tells what is known of messages, as Kept, KnownSize and Date do for one.
// The size is looked for in file names only if it is wanted.
func (v *View) Facts(msgs []Message, sizes bool, facts []Facts) {
	v.m.cached.Facts(len(msgs), func(i int) uint32 { return msgs[i].row }, func(i int, f cache.Fact) { facts[i] = Facts{f, f.Virtual} })
	if !sizes {
		return
	}
	m := v.m
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i := range msgs {
		if facts[i].Size < 0 {
			_, facts[i].Size = filename.Sizes(string(m.t.Base(msgs[i].row)))
		}
	}
}

// Keep adds what was read of a message.
func (v *View) Keep(msg Message, r *cache.Record) { v.m.keep(v.m.cached, msg, r) }

// Forget drops what the cache has of a message whose file turned out to be
// another one.
func (v *View) Forget(msg Message) { v.m.outdate(msg.row) }

// outdate drops what the cache has of a row whose file turned out to be another one.
func (m *Mailbox) outdate(row uint32) {
	key := m.cacheKey(row)
	m.cached.Outdate(row, key)
	m.orders.Outdate(row, key)
}

func (m *Mailbox) cacheKey(row uint32) cache.Key {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return cache.Key{UID: m.t.Row(row).UID, Base: cache.BaseSum(m.t.Base(row))}
}

func (m *Mailbox) key(msg Message) (key cache.Key, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return cache.Key{UID: msg.UID, Base: cache.BaseSum(m.t.Base(msg.row))}, m.t.Row(msg.row).State == table.Present
}

// settling is how long the modification time of a file may yet be changed by who
// made it: mutt and cp -p set it when the file has its name already.
const settling = 30 * time.Second

// keep adds to the cache. The date and the size of a message that is gone
// would be of no use, and the date of a new one may not be the last.
func (m *Mailbox) keep(box *cache.Box, msg Message, r *cache.Record) {
	if !r.Mtime.IsZero() && m.env.Now().Sub(r.Mtime) < settling {
		if t, known := m.cached.Date(msg.row); known && !t.Equal(r.Mtime) {
			m.outdate(msg.row) // what is known is of another text
		}
		r = &cache.Record{Size: -1, Virtual: r.Virtual, Source: r.Source}
	}
	if key, ok := m.key(msg); ok {
		box.Add(msg.row, key, r)
		m.doubtCached(msg.row) // another file may have come since it was read
	}
}

// closeCache ends the cache, and tells it first which messages are gone.
func (m *Mailbox) closeCache() {
	if m.cached.Unwritten() {
		m.openBox(m.cached, "")
		m.openBox(m.orders, ordersSuffix)
	}
	for n := range m.t.Expunged() {
		m.cached.Forget(n)
		m.orders.Forget(n)
	}
	m.cached.Close()
	m.orders.Close()
}
