package mailbox

import (
	"sync/atomic"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/keywords"
	"maildird/maildir/uidlist"
)

// dirState identifies a directory and when it last changed.
type dirState struct {
	dirfd.ID
	mtime, ctime int64 // nanoseconds
}

func dirStateOf(st dirfd.Stat) dirState {
	return dirState{st.ID(), st.Mtime.UnixNano(), st.Ctime.UnixNano()}
}

func (d dirState) modified() time.Time { return time.Unix(0, d.mtime) }

// dirTimes are the states of new/ and cur/ at a look, and the versions of dovecot-uidlist and
// dovecot-keywords at that time.
type dirTimes struct {
	new, cur dirState
	list     uidlist.Stamp
	words    keywords.Stamp
	// racy means that the look was within the granularity of one of the times, so that
	// another change may be hidden behind the same time. The look is repeated once, after
	// that time has passed.
	racy bool
	at   time.Time // of the look, with the monotonic clock
}

// same reports whether a look at the directories now would see what the look at t saw.
func (t *dirTimes) same(now *dirTimes) bool {
	return t.new.mtime == now.new.mtime && t.cur.mtime == now.cur.mtime
}

// readTimes returns the times at this moment. If somebody removed one of the directories, the
// mailbox has ended: opening the folder again recreates it. m.mu is not held.
func (m *Mailbox) readTimes() (t dirTimes, err error) {
	new, err := m.dirs.New.Stat()
	if err != nil {
		return t, err
	}
	cur, err := m.dirs.Cur.Stat()
	if err != nil {
		return t, err
	}
	if new.Nlink == 0 || cur.Nlink == 0 { // removed while open
		m.markReplaced()
		return t, ErrReplaced
	}
	if t.list, err = m.list.StampNow(); err != nil {
		return t, err
	}
	if t.words, err = keywords.StampNow(m.dir); err != nil {
		return t, err
	}
	t.new, t.cur, t.at = dirStateOf(new), dirStateOf(cur), m.env.Now()
	t.racy = dirfd.WithinGrain(t.at, new.Mtime) || dirfd.WithinGrain(t.at, cur.Mtime)
	return t, nil
}

// lastLook has the times of the last look, so that whoever does not hold Mailbox.sync can see
// that nothing has changed since. It may be used concurrently.
type lastLook struct{ times atomic.Pointer[dirTimes] }

// get returns the zero value if nobody has looked yet.
func (l *lastLook) get() dirTimes {
	if t := l.times.Load(); t != nil {
		return *t
	}
	return dirTimes{}
}

// setTimes notes that a look saw the state of the files at t. m.sync is held.
func (m *Mailbox) setTimes(t dirTimes) {
	if known, ok := m.list.Stamp(); ok {
		t.list = known // it may have been written by this process since
	}
	t.words = m.words.Stamp()
	m.last.times.Store(&t)
}
