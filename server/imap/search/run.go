package search

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/mailbox"
)

const (
	// slice is the number of messages that a helper takes at a time and, if no text is read,
	// the number after which the searcher checks whether the client is still there.
	slice = 16
	// fewest is the number of messages below which helpers are not worthwhile.
	fewest = 4 * slice
	// maxHelpers is the maximum number of helpers of one search. Asker.Helpers limits their total.
	maxHelpers = 7
	// lookUp is how often the searcher checks for its client while helpers work.
	lookUp = time.Second
)

// All returns the messages that match, in ascending order. If files must be read, it uses the
// helpers that are free. Its errors are those of the Asker and of the view; a message that cannot
// be read is no error, see Asker.Missed.
func (sr *Searcher) All() ([]mailbox.Message, error) {
	view := sr.View
	if sr.plan.known != nil {
		goal := int(view.Exists())
		return view.Find(sr.plan.known, func(tested int) error { return sr.asker.Working(tested, goal) })
	}
	if sr.plan.test.cost < CostHeader || view.Exists() < fewest {
		return sr.alone()
	}
	w := &work{msgs: slices.Collect(view.Messages(sr.plan.ranges, sr.plan.uid))}
	w.found = make([]bool, len(w.msgs))
	sr.missed = func(m mailbox.Message, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		sr.asker.Missed(m, err)
	}
	sr.help(w)
	err := sr.shareAndWait(w)
	if w.panicked != nil {
		panic(w.panicked)
	}
	if err != nil {
		return nil, err
	}
	var found []mailbox.Message
	for i, m := range w.msgs {
		if w.found[i] {
			found = append(found, m)
		}
	}
	return found, nil
}

// Ends returns the first match, the last, or both, and stops there. If no file must be read, it
// may return all matches.
func (sr *Searcher) Ends(first, last bool) (found []mailbox.Message, err error) {
	if sr.plan.known != nil {
		return sr.All()
	}
	msgs := slices.Collect(sr.View.Messages(sr.plan.ranges, sr.plan.uid))
	lowest := 0
	if first {
		lowest, err = sr.firstOf(slices.All(msgs), &found)
		if err != nil || len(found) == 0 {
			return found, err
		}
	}
	if last {
		_, err = sr.firstOf(slices.Backward(msgs[lowest:]), &found)
	}
	return slices.CompactFunc(found, func(a, b mailbox.Message) bool { return a.UID == b.UID }), err
}

// firstOf appends the first match to found, and returns its index.
func (sr *Searcher) firstOf(msgs iter.Seq2[int, mailbox.Message], found *[]mailbox.Message) (int, error) {
	for i, m := range msgs {
		if err := sr.asker.Interrupted(); err != nil {
			return 0, err
		}
		if sr.Matches(m) {
			*found = append(*found, m)
			return i, nil
		}
	}
	return 0, nil
}

// shareAndWait takes part in the work and returns when all helpers have ended,
// even if it panics.
func (sr *Searcher) shareAndWait(w *work) error {
	done := false
	defer func() {
		if !done {
			w.stop.Store(true)
		}
		w.running.Wait()
	}()
	err := sr.share(w)
	if err == nil {
		err = sr.await(w)
	}
	done = err == nil
	return err
}

// await waits for the helpers, one of which may be reading a long message, unless
// the client goes away.
func (sr *Searcher) await(w *work) error {
	ended := make(chan struct{})
	go func() {
		w.running.Wait()
		close(ended)
	}()
	ticks := time.NewTicker(lookUp)
	defer ticks.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ticks.C:
			if err := sr.asker.Working(len(w.msgs)-1, len(w.msgs)); err != nil {
				return err
			}
		}
	}
}

// alone is All without helpers.
func (sr *Searcher) alone() (found []mailbox.Message, err error) {
	goal := int(sr.View.Exists())
	for chunk := range sr.View.Chunks(sr.plan.ranges, sr.plan.uid) {
		for i, m := range chunk {
			if i%slice == 0 || sr.plan.test.cost >= CostHeader {
				if err := sr.asker.Working(int(m.Seq)-1, goal); err != nil {
					return nil, err
				}
			}
			if sr.Matches(m) {
				found = append(found, m)
			}
		}
	}
	return found, nil
}

// work is a search shared by several searchers.
type work struct {
	msgs  []mailbox.Message
	next  atomic.Int64 // index of the first message that was not taken yet
	stop  atomic.Bool  // the work is no longer needed
	found []bool       // by index; written by whoever took the message

	mu       sync.Mutex     // held during Asker.Missed
	running  sync.WaitGroup // the helpers
	once     sync.Once
	panicked error // a panic of a helper
}

// take returns the next messages to test; from == to at the end.
func (w *work) take() (from, to int) {
	if w.stop.Load() {
		return 0, 0
	}
	n := int64(len(w.msgs))
	end := w.next.Add(slice)
	return int(min(end-slice, n)), int(min(end, n))
}

// errStopped is the error of a helper whose work is no longer needed.
var errStopped = errors.New("search stopped")

// check is the check of helpers: it returns an error if they should stop.
func (w *work) check() error {
	if w.stop.Load() {
		return errStopped
	}
	return nil
}

// share is the part of the work that is done by the goroutine of the session. Only this
// goroutine may use the connection.
func (sr *Searcher) share(w *work) error {
	sr.scanner.Check = w.check
	for {
		from, to := w.take()
		if from == to {
			return nil
		}
		for i := from; i < to; i++ {
			if err := sr.asker.Working(i, len(w.msgs)); err != nil {
				return err
			}
			w.found[i] = sr.Matches(w.msgs[i])
		}
	}
}

// help starts as many helpers as there is work for and processors are free.
func (sr *Searcher) help(w *work) {
	for range min(maxHelpers, len(w.msgs)/slice-1) {
		select {
		case sr.asker.Helpers <- struct{}{}:
		default:
			return
		}
		h := newSearcher(sr.asker, sr.plan)
		h.missed = sr.missed
		w.running.Go(func() {
			defer func() { <-sr.asker.Helpers }()
			defer h.Close()
			h.shareAsHelper(w)
		})
	}
}

func (sr *Searcher) shareAsHelper(w *work) {
	defer func() {
		if r := recover(); r != nil {
			// It is passed on to the session, and ends that.
			w.stop.Store(true)
			w.once.Do(func() { w.panicked = fmt.Errorf("%v\n%s", r, debug.Stack()) })
		}
	}()
	sr.scanner.Check = w.check
	sr.check = w.check
	for {
		from, to := w.take()
		if from == to {
			return
		}
		for i := from; i < to && !w.stop.Load(); i++ {
			w.found[i] = sr.Matches(w.msgs[i])
		}
	}
}
