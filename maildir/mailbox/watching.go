package mailbox

import (
	"sync"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// watching is where the mailbox's events come from. It changes with m.sync and
// m.mu held; either is enough to read it.
type watching struct {
	watches []*watch.Watch
	on      bool    // events come
	soon    bool    // they will, or poll is set
	poll    *poller // where none are to be had
	retired bool
	beside  chan []*watch.Watch // gives the watches that watchBeside asked for, nil: it did not
	starts  sync.WaitGroup
	quit    chan struct{} // closed when the mailbox ends; made by watchSoon
	// muteFrom is how many events make it worth while to do without them.
	muteFrom int
}

// afterAnswer is how long a watch waits that would slow down the answer to the
// command for which the folder was opened: an older kernel's walk holds the directory.
const afterAnswer = 20 * time.Millisecond

// watchBeside asks for events on new/ and cur/, or has the folder polled, in a
// goroutine while the folder is listed: to watch a directory, a kernel as old as
// 6.1 goes through all the names in it that it knows. Nobody else has the mailbox yet.
func (m *Mailbox) watchBeside() {
	m.watch.beside = make(chan []*watch.Watch, 1)
	m.watch.starts.Go(func() { m.watch.beside <- m.addWatches() })
}

// joinWatch waits for what watchBeside asked for. From then on events come of what
// happens; what happened before shows in the times of the directories. m.sync is
// held.
func (m *Mailbox) joinWatch() {
	if m.watch.beside != nil {
		m.setWatch(<-m.watch.beside)
		m.watch.beside = nil
	}
}

// watchSoon asks for events in a while, for a folder that need not be listed.
func (m *Mailbox) watchSoon() {
	m.watch.soon = true
	m.watch.quit = make(chan struct{})
	m.watch.starts.Go(func() {
		select {
		case <-time.After(afterAnswer):
		case <-m.watch.quit:
			return
		}
		watches := m.addWatches()
		m.sync <- struct{}{}
		defer m.release()
		if m.watch.retired {
			closeWatches(watches)
			return
		}
		m.setWatch(watches)
		// What happened before the watch began shows in the times.
		m.last.mu.Lock()
		was := m.last.times
		m.last.mu.Unlock()
		if now, err := m.readTimes(); err != nil || was.racy || !was.same(now) {
			m.events.orderScan()
			m.wake()
		}
	})
}

func (m *Mailbox) addWatches() (watches []*watch.Watch) {
	for _, d := range []struct {
		dir   *dirfd.Dir
		where table.Place
	}{{m.dirs.New, table.InNew}, {m.dirs.Cur, table.InCur}} {
		w, err := m.env.Watcher.Add(d.dir, func(ev watch.Event) { m.event(d.where, ev) })
		if err != nil {
			closeWatches(watches)
			return nil
		}
		watches = append(watches, w)
	}
	return watches
}

func closeWatches(watches []*watch.Watch) {
	for _, w := range watches {
		w.Close()
	}
}

func (m *Mailbox) setWatch(watches []*watch.Watch) {
	m.mu.Lock()
	m.watch.watches, m.watch.on, m.watch.soon = watches, watches != nil, false
	m.mu.Unlock()
	if watches == nil {
		m.watch.poll = startPoller(m)
	}
}

// drop gives the watches back, so that another mailbox can have them.
func (w *watching) drop() {
	closeWatches(w.watches)
	w.watches = nil
}

const (
	// muteFrom is watching.muteFrom, but for tests.
	muteFrom = 512
	// holdFrom is how many events are better had together.
	holdFrom = 16
)

// mute spares this process the events of many changes that it is about to make
// itself, some of them in cur/: the kernel makes each while the change waits, and
// drops those of all folders when too many are not read yet. They come together
// after the changes; or if to list the directory costs less than events of cur/,
// none of these come. Call the function that it returns after the changes, when the
// table knows of them. m.sync is held.
func (m *Mailbox) mute(cur, events int) (unmute func()) {
	if !m.watch.on || m.watch.retired || events < min(holdFrom, m.watch.muteFrom) {
		return func() {}
	}
	release := m.env.Watcher.Hold()
	m.mu.RLock()
	few := cur < m.watch.muteFrom || cur*4 < int(m.t.Count())
	m.mu.RUnlock()
	if few {
		return release
	}
	dir := m.watch.watches[table.InCur]
	dir.Pause()
	return func() {
		defer release()
		if err := dir.Resume(); err != nil {
			m.env.Log.Warn("cur/ cannot be watched any more, the folder is polled instead", "mailbox", m.Path(), "error", err)
			closeWatches(m.watch.watches)
			m.setWatch(nil)
		}
	}
}

// endWatch ends all events. m.sync is not held.
func (m *Mailbox) endWatch() {
	if m.watch.quit != nil {
		close(m.watch.quit)
	}
	m.watch.starts.Wait()
	if m.watch.beside != nil { // the folder was not opened
		closeWatches(<-m.watch.beside)
	}
	m.watch.drop()
	if m.watch.poll != nil {
		m.watch.poll.stop()
	}
}
