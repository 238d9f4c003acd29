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

// Cached reads what the cache has of messages, for one command or one of its helpers. It
// must be used by one goroutine at a time, and closed when done.
type Cached struct {
	ctx    context.Context // of its view
	m      *Mailbox
	box    *cache.Box
	window cache.Window
}

// Cached updates the cache with what other processes added, and returns access to it. It
// may be called concurrently.
func (v *View) Cached() *Cached {
	v.m.openBox(v.m.texts.main, "")
	return &Cached{ctx: v.ctx, m: v.m, box: v.m.texts.main}
}

// Orders is like Cached, but only for cache.Order. That is a small part of what is cached
// of each message and has files of its own: sorting a mailbox reads nothing else.
func (v *View) Orders() *Cached {
	v.m.openBox(v.m.texts.main, "") // it knows the dates
	v.m.openBox(v.m.texts.orders, ordersSuffix)
	return &Cached{ctx: v.ctx, m: v.m, box: v.m.texts.orders}
}

// ordersSuffix is appended to the GUID, or the path, of a mailbox to name the files of its
// sort orders. No path contains a NUL.
const ordersSuffix = "\x00order"

// openBox opens a box whose files are named after the mailbox's GUID followed by suffix.
func (m *Mailbox) openBox(box *cache.Box, suffix string) {
	m.mu.RLock()
	id := cache.ID{Account: m.env.Account, GUID: m.head.guid, UIDValidity: m.head.validity}
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

// cachedFile examines the file of a row.
func (m *Mailbox) cachedFile(row uint32) (cache.Source, time.Time, bool) {
	e, err := m.location(Message{row: row})
	if err != nil {
		return cache.Source{}, time.Time{}, false
	}
	st, err := m.dirs.lstat(e)
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

// compareCached drops what is cached of a row unless it came from the file that is there
// now.
func (m *Mailbox) compareCached(row uint32, st dirfd.Stat) {
	key := m.cacheKey(row)
	if !m.texts.compare(row, key, sourceOf(st), st.Mtime) {
		m.texts.outdate(row, key)
	}
}

// doubtCached does the same if the cached data came from a file whose inode number differs
// from the row's.
func (m *Mailbox) doubtCached(row uint32) {
	m.mu.RLock()
	r := m.t.Row(row)
	inode, e := r.Inode, entry{where: r.Where}
	doubt := inode != 0 && r.State == table.Present
	m.mu.RUnlock()
	if !doubt || !m.texts.doubts(row, inode) {
		return
	}
	e.name = m.nameOf(row)
	if st, err := m.dirs.lstat(e); err == nil {
		m.compareCached(row, st)
	} else {
		m.outdate(row)
	}
}

// Close writes what was added and releases what reading needed.
func (c *Cached) Close() {
	c.window.Close()
	c.m.texts.flush()
}

// Read returns what the cache has of a message. The result is valid until the next call.
func (c *Cached) Read(msg Message) (cache.Record, bool) {
	key, ok := c.m.key(msg)
	if !ok {
		return cache.Record{}, false
	}
	r, ok := c.box.Read(&c.window, msg.row, key)
	if ok && c.box == c.m.texts.orders {
		// Only texts.main learns that the text was replaced.
		t, err := c.m.date(c.ctx, msg)
		ok = err == nil && t.Equal(r.Mtime)
	}
	return r, ok
}

// Keep adds what was read of a message.
func (c *Cached) Keep(msg Message, r *cache.Record) { c.m.keep(c.box, msg, r) }

// Keeps reports whether there is a cache at all.
func (v *View) Keeps() bool { return v.m.texts.main.Keeps() }

// Kept returns the kinds of data that the cache has of a message.
func (v *View) Kept(msg Message) cache.Kinds { return v.m.texts.main.Kinds(msg.row) }

// Facts is what is known of a message without opening its file.
type Facts struct {
	cache.Fact
	// Size is the size in octets with CRLF line ends, counted or taken from the file name;
	// negative if neither is known.
	Size int64
}

// Date returns the INTERNALDATE, which is valid if Dated is set.
func (f *Facts) Date() time.Time { return time.Unix(0, f.Mtime) }

// Facts stores what is known of each message in facts, like Kept, KnownSize and Date for a
// single one. It looks for sizes in file names only if sizes is set.
func (v *View) Facts(msgs []Message, sizes bool, facts []Facts) {
	v.m.texts.main.Facts(len(msgs), func(i int) uint32 { return msgs[i].row }, func(i int, f cache.Fact) { facts[i] = Facts{f, f.Virtual} })
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
func (v *View) Keep(msg Message, r *cache.Record) { v.m.keep(v.m.texts.main, msg, r) }

// Forget drops what the cache has of a message whose file turned out to be a different one.
func (v *View) Forget(msg Message) { v.m.outdate(msg.row) }

// outdate drops what the cache has of a row whose file turned out to be a different one.
func (m *Mailbox) outdate(row uint32) { m.texts.outdate(row, m.cacheKey(row)) }

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

// settling is how long the program that created a file may still change its modification
// time: mutt and cp -p set it after the file has its name.
const settling = 30 * time.Second

// keep adds to the cache. It leaves out a message that is gone, and the date of a new
// message, which may not be final.
func (m *Mailbox) keep(box *cache.Box, msg Message, r *cache.Record) {
	if !r.Mtime.IsZero() && m.env.Now().Sub(r.Mtime) < settling {
		if t, known := m.texts.main.Date(msg.row); known && !t.Equal(r.Mtime) {
			m.outdate(msg.row) // the cached data came from another text
		}
		r = &cache.Record{Size: -1, Virtual: r.Virtual, Source: r.Source}
	}
	if key, ok := m.key(msg); ok {
		box.Add(msg.row, key, r)
		m.doubtCached(msg.row) // the file may have been replaced since it was read
	}
}

// closeCache closes the cache after dropping the messages that are gone from it.
func (m *Mailbox) closeCache() {
	if m.texts.main.Unwritten() {
		m.openBox(m.texts.main, "")
		m.openBox(m.texts.orders, ordersSuffix)
	}
	for n := range m.t.Expunged() {
		m.texts.forget(n)
	}
	m.texts.close()
}
