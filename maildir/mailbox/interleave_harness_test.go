package mailbox

import "testing"

// TestMeetingWithBackground: what is done right before a call of the goroutine that begins
// a watch does not wait for a lock that the operation itself is just creating, and which it
// would keep for ever, because its next call has to wait too.
func TestMeetingWithBackground(t *testing.T) {
	r := newMeeting(t, t.TempDir(), setting{known: true})
	defer r.close()
	must(t, r.ready(true))
	lock := r.a.file(uidlistLock)
	acts := func() (done bool) {
		r.process(func(*process) error { done = true; return nil })
		return done
	}
	r.armed = true
	if !acts() {
		t.Error("nothing is done although nobody has the lock")
	}
	must(t, r.before("create", lock)) // the call itself comes later
	if acts() {
		t.Error("another process waits for a lock while it is created")
	}
	must(t, r.before("remove", lock))
	if !acts() {
		t.Error("nothing is done although the lock was given back")
	}
}
