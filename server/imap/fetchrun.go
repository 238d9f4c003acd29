package imap

import (
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
)

const (
	// fetchAhead is how many messages may be read before their turn comes. Each
	// takes the room of its beginning.
	fetchAhead = 16
	// fetchAlone is how many files in a row are not worth a helper.
	fetchAlone = 4
	// seenBatch is how many messages are opened before \Seen is set on those
	// that could be, all at once.
	seenBatch = 16
)

// fetchTask is one message on its way to its response.
type fetchTask struct {
	m    mailbox.Message
	only bool // no other message was asked for

	// For a message whose file has to be read:
	taken atomic.Bool   // somebody does it
	done  chan struct{} // closed when it is done; nil for other messages
	mf    *mailFile     // nil if no item needs the text
	err   error
	fault error // a fault of the program
}

// run serves messages in their order. Files are read ahead by a helper, if a
// processor is free and there are several of them. With seen it sets \Seen.
func (f *fetcher) run(msgs iter.Seq[mailbox.Message], seen bool) error {
	q := &fetchQueue{f: f}
	defer q.close()
	batch := 1
	if seen {
		batch = seenBatch
	}
	n := 0
	for m := range msgs {
		if err := f.s.interrupted(); err != nil {
			return err
		}
		n++
		q.push(m)
		if len(q.tasks) >= fetchAhead {
			if err := q.serve(batch, seen); err != nil {
				return err
			}
		}
	}
	if n == 1 {
		q.tasks[0].only = true
	}
	for len(q.tasks) > 0 {
		if err := q.serve(batch, seen); err != nil {
			return err
		}
	}
	return nil
}

// fetchQueue is the messages whose turn comes next.
type fetchQueue struct {
	f     *fetcher
	tasks []*fetchTask
	files int // in a row, at the end

	jobs   chan *fetchTask // nil without a helper
	helper sync.WaitGroup
	stop   atomic.Bool // the helper's work is in vain
}

// push adds a message, and has its file read if that is needed.
func (q *fetchQueue) push(m mailbox.Message) {
	t := &fetchTask{m: m}
	q.tasks = append(q.tasks, t)
	if !q.f.needsFile(m) {
		q.files = 0
		return
	}
	t.done = make(chan struct{})
	if q.files++; q.files > fetchAlone && q.jobs == nil {
		q.help()
	}
	if q.jobs != nil {
		select {
		case q.jobs <- t:
		default:
		}
	}
}

// help starts a helper if a processor is free.
func (q *fetchQueue) help() {
	helpers := q.f.s.srv.helpers
	select {
	case helpers <- struct{}{}:
	default:
		return
	}
	jobs := make(chan *fetchTask, fetchAhead)
	q.jobs = jobs
	q.helper.Go(func() {
		defer func() { <-helpers }()
		for t := range jobs {
			q.f.read(t, q.check)
		}
	})
}

// check is the helper's answer to whether it shall go on.
func (q *fetchQueue) check() error {
	if q.stop.Load() {
		return errStopped
	}
	return nil
}

// lookUp is how often the session looks whether its client is gone while a
// helper reads a long message.
const lookUp = time.Second

// await waits for a message that the helper reads.
func (q *fetchQueue) await(t *fetchTask) error {
	select { // at once, most of the time
	case <-t.done:
		return nil
	default:
	}
	ticks := time.NewTicker(lookUp)
	defer ticks.Stop()
	for {
		select {
		case <-t.done:
			return nil
		case <-ticks.C:
			if err := q.f.s.interrupted(); err != nil {
				return err
			}
		}
	}
}

// close ends the helper and closes what was read in vain.
func (q *fetchQueue) close() {
	for _, t := range q.tasks {
		t.taken.Store(true) // nobody begins with it any more
	}
	q.stop.Store(true)
	if q.jobs != nil {
		close(q.jobs)
		q.helper.Wait()
	}
	for _, t := range q.tasks {
		t.close()
	}
}

func (t *fetchTask) close() {
	if t.mf != nil {
		t.mf.close()
		t.mf = nil
	}
}

// serve writes the responses of the next messages, at most n.
func (q *fetchQueue) serve(n int, seen bool) error {
	batch := q.tasks[:min(n, len(q.tasks))]
	f := q.f
	var unseen []uint32
	for _, t := range batch {
		if err := q.get(t); err != nil {
			return err
		}
		if t.fault != nil {
			panic(t.fault)
		}
		if t.err == nil && seen && t.m.Flags&filename.Seen == 0 {
			unseen = append(unseen, t.m.UID)
		}
	}
	defer func() { // from here on no helper has a hand in them
		for _, t := range batch {
			t.close()
		}
		q.tasks = q.tasks[len(batch):]
	}()
	changed := f.setSeen(unseen)
	for _, t := range batch {
		if t.err != nil {
			f.s.lack(&f.lacking, t.m, t.err)
			continue
		}
		now, isNew := changed[t.m.UID]
		if isNew {
			t.m = now
		}
		if f.getCached(t); t.err != nil {
			f.s.lack(&f.lacking, t.m, t.err)
			if isNew {
				f.s.flagsResponse(t.m)
			}
			continue
		}
		f.respond(t.m, t.mf, isNew)
		if t.mf != nil {
			t.mf.remember()
		}
		if err := f.s.interrupted(); err != nil {
			return err
		}
	}
	return nil
}

// needsFile tells whether the response for a message can be made only from its
// file.
func (f *fetcher) needsFile(m mailbox.Message) bool {
	if f.need != needNothing && !f.items.cached(f.s.sel.view.Kept(m)) {
		return true
	}
	return f.needsSize(m)
}

// needsSize tells whether the octets of a message have to be counted.
func (f *fetcher) needsSize(m mailbox.Message) bool {
	if f.items.set&fetchSize == 0 {
		return false
	}
	_, known := f.s.sel.view.KnownSize(m)
	return !known
}

// get makes a message whose file is needed ready for its response, or waits for
// the helper that does. An error is the end of the command.
func (q *fetchQueue) get(t *fetchTask) error {
	f := q.f
	switch {
	case t.done != nil && t.only:
		rec, _ := f.cached.Read(t.m)
		t.mf = newMail(f.s.sel.view, t.m, &f.s.sel.last, rec, f.s.interrupted)
		t.err = f.load(t.mf)
	case t.done != nil:
		if !f.read(t, f.s.interrupted) {
			if err := q.await(t); err != nil {
				return err
			}
			if t.mf != nil {
				t.mf.check = f.s.interrupted // it is the session's from here on
			}
		}
	}
	if t.err != nil {
		t.close()
	}
	return nil
}

// getCached is get for other messages, of which the cache has the text. What it
// gives is good until it is called for the next message.
func (f *fetcher) getCached(t *fetchTask) {
	if t.done != nil || f.need == needNothing {
		return
	}
	rec, _ := f.cached.Read(t.m)
	t.mf = newMail(f.s.sel.view, t.m, nil, rec, f.s.interrupted)
	if !f.items.cached(rec.Has()) { // it could not be read
		t.mf.rec = cache.Record{}
		if t.err = f.load(t.mf); t.err != nil {
			t.close()
		}
	}
}

// read reads the file of a message unless somebody does it already.
func (f *fetcher) read(t *fetchTask, check func() error) bool {
	if !t.taken.CompareAndSwap(false, true) {
		return false
	}
	defer close(t.done)
	defer func() {
		if r := recover(); r != nil {
			t.fault = fmt.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	t.mf = newMail(f.s.sel.view, t.m, nil, cache.Record{}, check)
	t.err = f.load(t.mf)
	return true
}

// load opens a message's file and reads what is read ahead of it. A small one
// is given to the cache now, before its response is made of the same.
func (f *fetcher) load(mf *mailFile) error {
	if err := mf.open(f.need == needBody || f.needsSize(mf.m)); err != nil {
		return err
	}
	if mf.text == nil {
		return nil
	}
	for _, a := range f.items.attrs {
		if c, ok := a.(cachedAttr); ok && c.cachedAs() == cache.Preview {
			if _, err := mf.previewText(); err != nil {
				return err
			}
		}
	}
	mf.remember()
	return nil
}
