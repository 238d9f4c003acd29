package mailbox

import "time"

// alarm is a reason to wake the sessions later, so that they look at the files although no
// event tells them to.
type alarm uint8

const (
	lookAlarm    alarm = iota // a look failed, or left something undone
	moveAlarm                 // mail that just arrived is due to be moved from new/
	historyAlarm              // the history, which could not be written, is due to be tried again
	numAlarms
)

// alarms has one time for each reason: work that can wait does not delay other work. It may
// be used concurrently.
type alarms [numAlarms]*time.Timer

func newAlarms(wake func()) (a alarms) {
	for why := range a {
		a[why] = time.AfterFunc(time.Hour, wake)
		a[why].Stop()
	}
	return a
}

// set has wake called after d, instead of when it was set for the same reason before.
func (a *alarms) set(why alarm, d time.Duration) { a[why].Reset(max(d, 0)) }

func (a *alarms) stop() {
	for _, t := range a {
		t.Stop()
	}
}
