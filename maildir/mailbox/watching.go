package mailbox

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/contain"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/watch"
)

// watching is where news of the files in new/ and cur/ comes from: events, or, if there are
// none, or other hosts cause none, a look every pollInterval. Mailbox.sync guards it, except
// for the methods that say otherwise.
type watching struct {
	watcher *watch.Watcher
	dirs    *mailDirs
	log     *slog.Logger                   // names the mailbox
	event   func(table.Place, watch.Event) // called in the watcher's goroutine
	poll    func()                         // called in a goroutine of its own

	watches []*watch.Watch
	on      bool    // events are delivered, and report everything
	poller  *poller // nil: the events suffice
	retired bool
	// kept is set if events report everything, or soon will. It may be read at any time.
	kept    atomic.Bool
	pending chan []*watch.Watch // delivers the watches that begin requested; nil: none requested
	starts  sync.WaitGroup      // the goroutines that add watches
	quit    chan struct{}       // closed at the end; made by beginLater
	// muteFrom is the number of events from which on it is better to do without them.
	muteFrom int
}

const (
	// muteFrom is the value of watching.muteFrom outside tests.
	muteFrom = 512
	// holdFrom is the number of events from which on it is better to receive them together.
	holdFrom = 16
	// afterAnswer is how long adding a watch is delayed, so that it does not slow down the
	// answer to the command for which the folder was opened: older kernels lock the directory
	// while they walk through it.
	afterAnswer = 20 * time.Millisecond
)

// begin requests events in a goroutine while the folder is being listed: to add a watch for a
// directory, kernels as old as 6.1 walk through all names in it that they have cached.
func (w *watching) begin() {
	w.pending = make(chan []*watch.Watch, 1)
	w.starts.Go(func() { w.pending <- w.add() })
}

// join waits until what begin requested is set up. From then on, events report what happens;
// what happened before shows in the times of the directories.
func (w *watching) join() {
	if w.pending != nil {
		w.set(<-w.pending)
		w.pending = nil
	}
}

// beginLater requests events after a delay. Then it calls ready, in the same goroutine, with a
// function that sets them up, which is to be called with Mailbox.sync held; it returns false
// if the watching has ended.
func (w *watching) beginLater(ready func(set func() bool)) {
	w.kept.Store(true)
	w.quit = make(chan struct{})
	w.starts.Go(func() {
		select {
		case <-time.After(afterAnswer):
		case <-w.quit:
			return
		}
		watches := w.add()
		ready(func() bool {
			if w.retired {
				closeWatches(watches)
				return false
			}
			w.set(watches)
			return true
		})
	})
}

// add returns nil if there are no events.
func (w *watching) add() (watches []*watch.Watch) {
	for _, where := range []table.Place{table.InNew, table.InCur} {
		one, err := w.watcher.Add(w.dirs.in(where), func(ev watch.Event) { w.event(where, ev) })
		if err != nil {
			closeWatches(watches)
			return nil
		}
		watches = append(watches, one)
	}
	return watches
}

func closeWatches(watches []*watch.Watch) {
	for _, w := range watches {
		w.Close()
	}
}

func (w *watching) set(watches []*watch.Watch) {
	w.watches = watches
	w.on = watches != nil && !slices.ContainsFunc(watches, (*watch.Watch).Partial)
	w.kept.Store(w.on)
	if !w.on && w.poller == nil {
		w.poller = startPoller(w.log, pollInterval, w.poll)
	}
}

// mute spares this process the events of many changes that it is about to make itself. cur
// is how many of the events are in cur/, which has that many files. The kernel creates each
// event while the change waits, and drops those of all folders when too many are unread. With
// mute, they are delivered together after the changes; or, if listing cur/ costs less than its
// events, those of cur/ are not delivered at all. The caller calls unmute after the changes,
// once the table has them.
func (w *watching) mute(cur, events int, files uint32) (unmute func()) {
	if w.watches == nil || events < min(holdFrom, w.muteFrom) {
		return func() {}
	}
	release := w.watcher.Hold()
	if cur < w.muteFrom || cur*4 < int(files) {
		return release
	}
	dir := w.watches[table.InCur]
	dir.Pause()
	return func() {
		defer release()
		if err := dir.Resume(); err != nil {
			w.log.Warn("cur/ cannot be watched any more, the folder is polled instead", "error", err)
			closeWatches(w.watches)
			w.set(nil)
		}
	}
}

// wait waits until no goroutine is adding watches. Mailbox.sync is not held: ready may be
// waiting for it.
func (w *watching) wait() { w.starts.Wait() }

// retire releases the watches, so that another mailbox can have them.
func (w *watching) retire() {
	w.retired = true
	w.drop()
}

func (w *watching) drop() {
	closeWatches(w.watches)
	w.watches = nil
}

// end ends all events. Nobody else has the mailbox, and Mailbox.sync is not held.
func (w *watching) end() {
	if w.quit != nil {
		close(w.quit)
	}
	w.wait()
	if w.pending != nil { // the folder was never opened
		closeWatches(<-w.pending)
	}
	w.drop()
	if w.poller != nil {
		w.poller.stop()
	}
}

// poller calls a function now and then.
type poller struct {
	quit chan struct{}
	done chan struct{}
}

func startPoller(log *slog.Logger, every time.Duration, poll func()) *poller {
	p := &poller{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-p.quit:
				return
			case <-tick.C:
				contain.Run(log, "panic while a mailbox was polled", poll)
			}
		}
	}()
	return p
}

func (p *poller) stop() {
	close(p.quit)
	<-p.done
}
