package mailbox

import (
	"slices"
	"sync"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// watching is where the mailbox's events come from. Its fields are changed with both m.sync
// and m.mu held; holding either is enough to read them.
type watching struct {
	watches []*watch.Watch
	on      bool    // events are delivered, and report everything
	soon    bool    // the watch is being set up
	poll    *poller // used if no events can be had, or other hosts cause none
	retired bool
	pending chan []*watch.Watch // delivers the watches that watchInBackground requested; nil: none requested
	starts  sync.WaitGroup
	quit    chan struct{} // closed when the mailbox ends; made by watchSoon
	// muteFrom is the number of events from which on it is better to do without them.
	muteFrom int
}

// afterAnswer is how long adding a watch is delayed, so that it does not slow down the
// answer to the command for which the folder was opened: older kernels lock the directory
// while they walk through it.
const afterAnswer = 20 * time.Millisecond

// watchInBackground requests events for new/ and cur/, or starts polling the folder, in a
// goroutine while the folder is being listed: to add a watch for a directory, kernels as
// old as 6.1 walk through all names in it that they have cached. Nobody else has the
// mailbox yet.
func (m *Mailbox) watchInBackground() {
	m.watch.pending = make(chan []*watch.Watch, 1)
	m.watch.starts.Go(func() { m.watch.pending <- m.addWatches() })
}

// joinWatch waits until what watchInBackground requested is set up. From then on, events report
// what happens; what happened before shows in the times of the directories. m.sync is held.
func (m *Mailbox) joinWatch() {
	if m.watch.pending != nil {
		m.setWatch(<-m.watch.pending)
		m.watch.pending = nil
	}
}

// watchSoon requests events after a delay, for a folder that does not have to be listed.
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
		// What happened before the watch started shows in the times.
		was := m.last.get()
		if now, err := m.readTimes(); err != nil || was.racy || !was.same(&now) {
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
	on := watches != nil && !slices.ContainsFunc(watches, (*watch.Watch).Partial)
	m.mu.Lock()
	m.watch.watches, m.watch.on, m.watch.soon = watches, on, false
	m.mu.Unlock()
	if !on && m.watch.poll == nil {
		m.watch.poll = startPoller(m)
	}
}

// drop releases the watches, so that another mailbox can have them.
func (w *watching) drop() {
	closeWatches(w.watches)
	w.watches = nil
}

const (
	// muteFrom is the value of watching.muteFrom outside tests.
	muteFrom = 512
	// holdFrom is the number of events from which on it is better to receive them together.
	holdFrom = 16
)

// mute spares this process the events of many changes that it is about to make itself. cur
// is how many of the events are in cur/. The kernel creates each event while the change
// waits, and drops those of all folders when too many are unread. With mute, they are
// delivered together after the changes; or, if listing cur/ costs less than its events,
// those of cur/ are not delivered at all. The caller calls unmute after the changes, once
// the table has them. m.sync is held.
func (m *Mailbox) mute(cur, events int) (unmute func()) {
	if m.watch.watches == nil || events < min(holdFrom, m.watch.muteFrom) {
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
	if m.watch.pending != nil { // the folder was never opened
		closeWatches(<-m.watch.pending)
	}
	m.watch.drop()
	if m.watch.poll != nil {
		m.watch.poll.stop()
	}
}
