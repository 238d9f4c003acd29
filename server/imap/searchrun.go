package imap

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/mailbox"
)

const (
	// searchSlice is how many messages a helper takes at once, and after how many
	// whose text is not read the client is thought of.
	searchSlice = 16
	// searchAlone is how many messages are not worth a helper.
	searchAlone = 4 * searchSlice
	// maxHelpers bounds the helpers of one search. Those of all searches are
	// bounded by the processors.
	maxHelpers = 7
)

// all returns the messages that match, ascending. If files have to be read,
// other processors help as far as they are not busy with other searches.
func (sr *searcher) all() ([]mailbox.Message, error) {
	view := sr.s.sel.view
	if sr.plan.known != nil {
		goal := int(view.Exists())
		return view.Find(sr.plan.known, func(tested int) error { return sr.s.working(tested, goal) })
	}
	if sr.plan.test.cost < costHeader || view.Exists() < searchAlone {
		return sr.alone()
	}
	work := &searchWork{msgs: slices.Collect(view.Messages(sr.plan.ranges, sr.plan.uid))}
	work.found = make([]bool, len(work.msgs))
	helpers := sr.help(work)
	err := sr.shareAndWait(work)
	for _, h := range helpers {
		sr.lacking.add(h.lacking)
	}
	if work.panicked != nil {
		panic(work.panicked)
	}
	if err != nil {
		return nil, err
	}
	var found []mailbox.Message
	for i, m := range work.msgs {
		if work.found[i] {
			found = append(found, m)
		}
	}
	return found, nil
}

// shareAndWait takes part in the work and returns when nobody is at it any more,
// whatever happens.
func (sr *searcher) shareAndWait(w *searchWork) error {
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

// await waits for the helpers, one of which may read a long message, as long as
// the client does.
func (sr *searcher) await(w *searchWork) error {
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
			if err := sr.s.working(len(w.msgs)-1, len(w.msgs)); err != nil {
				return err
			}
		}
	}
}

// alone is all without helpers.
func (sr *searcher) alone() (found []mailbox.Message, err error) {
	goal := int(sr.s.sel.view.Exists())
	for chunk := range sr.s.sel.view.Chunks(sr.plan.ranges, sr.plan.uid) {
		for i, m := range chunk {
			if i%searchSlice == 0 || sr.plan.test.cost >= costHeader {
				if err := sr.s.working(int(m.Seq)-1, goal); err != nil {
					return nil, err
				}
			}
			if sr.matches(m) {
				found = append(found, m)
			}
		}
	}
	return found, nil
}

// searchWork is a search that several searchers share.
type searchWork struct {
	msgs  []mailbox.Message
	next  atomic.Int64 // index of the first message that nobody has taken
	stop  atomic.Bool  // there is no use in going on
	found []bool       // by index; each is written by who took it

	running  sync.WaitGroup // the helpers
	once     sync.Once
	panicked error // a fault of the program in one of them
}

// take gives the next messages to test; from == to at the end.
func (w *searchWork) take() (from, to int) {
	if w.stop.Load() {
		return 0, 0
	}
	n := int64(len(w.msgs))
	end := w.next.Add(searchSlice)
	return int(min(end-searchSlice, n)), int(min(end, n))
}

// errStopped says that nobody waits for what a helper does.
var errStopped = errors.New("search stopped")

// check is a helper's answer to whether it shall go on.
func (w *searchWork) check() error {
	if w.stop.Load() {
		return errStopped
	}
	return nil
}

// share is the part that the session's own goroutine takes. Only it speaks to
// the client and hears that it is gone.
func (sr *searcher) share(w *searchWork) error {
	sr.scanner.Check = w.check
	for {
		from, to := w.take()
		if from == to {
			return nil
		}
		for i := from; i < to; i++ {
			if err := sr.s.working(i, len(w.msgs)); err != nil {
				return err
			}
			w.found[i] = sr.matches(w.msgs[i])
		}
	}
}

// help starts helpers: as many as there is work for and processors are free.
func (sr *searcher) help(w *searchWork) (helpers []*searcher) {
	for len(helpers) < min(maxHelpers, len(w.msgs)/searchSlice-1) {
		select {
		case sr.s.srv.helpers <- struct{}{}:
		default:
			return helpers
		}
		h := newSearcher(sr.s, sr.plan)
		helpers = append(helpers, h)
		w.running.Go(func() {
			defer func() { <-sr.s.srv.helpers }()
			defer h.close()
			h.shareAsHelper(w)
		})
	}
	return helpers
}

func (sr *searcher) shareAsHelper(w *searchWork) {
	defer func() {
		if r := recover(); r != nil {
			// The session ends by it, as by a panic of its own.
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
			w.found[i] = sr.matches(w.msgs[i])
		}
	}
}
