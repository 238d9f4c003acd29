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
	// fetchBatch is how many messages a helper takes at once, and on how many
	// \Seen is set at once.
	fetchBatch = 8
	// fetchAhead is how many batches may be under way: two of the session, two
	// of the helper. Each message takes the room of its beginning.
	fetchAhead = 4
	// fetchAlone is how many files of a batch are not worth a helper.
	fetchAlone = 4
)

// fetchTask is one message on its way to its response.
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

// fail drops a message that cannot be served.
func (t *fetchTask) fail(err error) {
	t.close()
	t.err = err
}

// fetchJob is messages that follow each other.
type fetchJob struct {
	tasks []fetchTask
	files int         // how many have to be read
	taken atomic.Bool // somebody reads them
	done  chan struct{}
	fault error // of the program
}

// fetchQueue is the messages whose turn comes next.
type fetchQueue struct {
	f    *fetcher
	seen bool
	jobs []*fetchJob
	job  *fetchJob // that is being put together; nil for none

	ahead  chan *fetchJob  // nil without a helper
	cached *mailbox.Cached // the helper's
	helper sync.WaitGroup
	stop   atomic.Bool // the helper's work is in vain
}

func newFetchJob() *fetchJob { return &fetchJob{tasks: make([]fetchTask, 0, fetchBatch)} }

// add adds messages behind the others, and serves some if there are enough.
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

// drain serves all that is left.
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

// push adds a job that others follow, and serves the first one if there are
// enough of them.
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

// errStopped says that nobody waits for what a helper does.
var errStopped = errors.New("helper stopped")

// check is the helper's answer to whether it shall go on.
func (q *fetchQueue) check() error {
	if q.stop.Load() {
		return errStopped
	}
	return nil
}

// close ends the helper and closes what was read in vain.
func (q *fetchQueue) close() {
	for _, job := range q.jobs {
		job.taken.Store(true) // nobody begins with it any more
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

// readAhead reads the files of a job that was taken. A fault ends the session,
// as if it had happened there.
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
	q.jobs = q.jobs[1:] // from here on no helper has a hand in it
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

// await makes sure that nobody else has a hand in a job: it takes the job, or
// waits for the helper that did, and does others meanwhile. An error is the end
// of the command.
func (q *fetchQueue) await(job *fetchJob) error {
	if job.done == nil || job.taken.CompareAndSwap(false, true) {
		return nil // each message is read when its turn comes
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
			mf.SetCheck(q.f.s.interrupted) // it is the session's from here on
		}
	}
	return nil
}

// lookUp is how often the session looks whether its client is gone while a
// helper reads a long message.
const lookUp = time.Second

// wait waits for the helper.
func (f *fetcher) wait(done chan struct{}) error {
	select { // at once, most of the time
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

// unseen gives the UIDs of the messages of a job that lack \Seen and can be
// served, as far as a look at the files tells.
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
