package imap

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
)

const (
	// fetchBatch is the number of messages that a helper takes at a time, and for which \Seen
	// is set at a time.
	fetchBatch = 8
	// fetchAhead is the maximum number of batches in progress: two of the session, two of the
	// helper. Each message needs memory for its beginning.
	fetchAhead = 4
	// fetchAlone is the number of files in a batch up to which a helper is not worthwhile.
	fetchAlone = 4
)

// fetchTask is a message that is to be served.
type fetchTask struct {
	m    mailbox.Message
	read bool // its file is needed
	mf   *mailfile.File
	err  error
}

func (t *fetchTask) close() {
	if t.mf != nil {
		t.mf.Close()
		t.mf = nil
	}
}

// fail marks a message as one that cannot be served.
func (t *fetchTask) fail(err error) {
	t.close()
	t.err = err
}

// fetchJob is a batch of consecutive messages.
type fetchJob struct {
	tasks []fetchTask
	files int         // number of files that must be read
	taken atomic.Bool // by the session or the helper, which then reads the files
	done  chan struct{}
	fault error // a panic of the helper
}

// fetchQueue is the queue of messages that are to be served.
type fetchQueue struct {
	f    *fetcher
	seen bool
	jobs []*fetchJob
	job  *fetchJob // being filled; nil for none

	ahead  chan *fetchJob  // to the helper; nil without one
	cached *mailbox.Cached // the helper's
	helper sync.WaitGroup
	stop   atomic.Bool // tells the helper to stop
}

func newFetchJob() *fetchJob { return &fetchJob{tasks: make([]fetchTask, 0, fetchBatch)} }

// add appends messages to the queue, and serves some if there are enough.
func (q *fetchQueue) add(chunk []mailbox.Message) error {
	for i, m := range chunk {
		if q.job != nil && len(q.job.tasks) == fetchBatch {
			job := q.job
			q.job = nil
			if err := q.push(job); err != nil {
				return err
			}
		}
		if q.job == nil {
			q.job = newFetchJob()
		}
		t := fetchTask{m: m, read: q.f.needsFile(&q.f.facts[i])}
		if t.read {
			q.job.files++
		}
		q.job.tasks = append(q.job.tasks, t)
	}
	return nil
}

// drain serves all messages in the queue.
func (q *fetchQueue) drain() error {
	if q.job != nil {
		q.jobs, q.job = append(q.jobs, q.job), nil
	}
	for len(q.jobs) > 0 {
		if err := q.serve(); err != nil {
			return err
		}
	}
	return nil
}

// push appends a full job, and serves the first job if there are enough of them.
func (q *fetchQueue) push(job *fetchJob) error {
	if job.files > fetchAlone && q.ahead == nil {
		q.help()
	}
	if job.files > 0 && q.ahead != nil {
		job.done = make(chan struct{})
		select {
		case q.ahead <- job:
		default:
		}
	}
	q.jobs = append(q.jobs, job)
	if q.ahead != nil && len(q.jobs) < fetchAhead {
		return nil
	}
	return q.serve()
}

// help starts a helper if a processor is free.
func (q *fetchQueue) help() {
	helpers := q.f.s.srv.helpers
	select {
	case helpers <- struct{}{}:
	default:
		return
	}
	ahead := make(chan *fetchJob, fetchAhead)
	q.ahead, q.cached = ahead, q.f.s.sel.view.Cached()
	q.helper.Go(func() {
		defer func() { <-helpers }()
		for job := range ahead {
			if job.taken.CompareAndSwap(false, true) {
				q.f.readAhead(job, q.cached, q.check)
			}
		}
	})
}

// errStopped is the error of a helper whose work is no longer needed.
var errStopped = errors.New("helper stopped")

// check is the check that the helper passes to mailfile.
func (q *fetchQueue) check() error {
	if q.stop.Load() {
		return errStopped
	}
	return nil
}

// close stops the helper and closes files that were read but not served.
func (q *fetchQueue) close() {
	for _, job := range q.jobs {
		job.taken.Store(true) // the helper must not begin with it
	}
	q.stop.Store(true)
	if q.ahead != nil {
		close(q.ahead)
		q.helper.Wait()
		q.cached.Close()
	}
	for _, job := range q.jobs {
		job.close()
	}
}

func (job *fetchJob) close() {
	for i := range job.tasks {
		job.tasks[i].close()
	}
}

// readAhead reads the files of a job that was taken. A panic is handed on to the session.
func (f *fetcher) readAhead(job *fetchJob, cached *mailbox.Cached, check func() error) {
	defer close(job.done)
	defer func() {
		if r := recover(); r != nil {
			job.fault = fmt.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	for i := range job.tasks {
		if t := &job.tasks[i]; t.read {
			f.read(t, cached, check)
		}
	}
}

// serve writes the responses of the first job.
func (q *fetchQueue) serve() error {
	job, f := q.jobs[0], q.f
	if err := q.await(job); err != nil {
		return err
	}
	q.jobs = q.jobs[1:] // helpers no longer use it
	defer job.close()
	f.flags.forget()
	var changed map[uint32]mailbox.Message
	if q.seen {
		changed = f.setSeen(f.unseen(job))
	}
	for i := range job.tasks {
		t := &job.tasks[i]
		now, isNew := changed[t.m.UID]
		if isNew {
			t.m = now
		}
		f.serve(t, isNew)
		t.close()
		if i > 0 && !t.read {
			continue
		}
		if err := f.s.interrupted(); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the session alone uses a job: it takes the job, or waits for the helper
// that has taken it, and reads others meanwhile. An error ends the command.
func (q *fetchQueue) await(job *fetchJob) error {
	if job.done == nil || job.taken.CompareAndSwap(false, true) {
		return nil // each message is read when it is served
	}
	for _, next := range q.jobs {
		select {
		case <-job.done:
		default:
			if next.done != nil && next.taken.CompareAndSwap(false, true) {
				q.f.readAhead(next, q.f.cached, q.f.s.interrupted)
			}
		}
	}
	if err := q.f.wait(job.done); err != nil {
		return err
	}
	if job.fault != nil {
		panic(job.fault)
	}
	for i := range job.tasks {
		if mf := job.tasks[i].mf; mf != nil {
			mf.SetCheck(q.f.s.interrupted) // the session reads on from here
		}
	}
	return nil
}

// lookUp is how often the session checks whether its client is gone while a helper
// reads a long message.
const lookUp = time.Second

// wait waits for the helper.
func (f *fetcher) wait(done chan struct{}) error {
	select { // usually it is done already
	case <-done:
		return nil
	default:
	}
	ticks := time.NewTicker(lookUp)
	defer ticks.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ticks.C:
			if err := f.s.interrupted(); err != nil {
				return err
			}
		}
	}
}

// unseen returns the UIDs of those messages of a job that lack \Seen and whose
// files could be read.
func (f *fetcher) unseen(job *fetchJob) (uids []uint32) {
	for i := range job.tasks {
		t := &job.tasks[i]
		if t.read && t.mf == nil && t.err == nil {
			f.read(t, f.cached, f.s.interrupted)
		}
		if t.err == nil && t.m.Flags&filename.Seen == 0 {
			uids = append(uids, t.m.UID)
		}
	}
	return uids
}
