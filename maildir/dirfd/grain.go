package dirfd

import "time"

// The grain of the times that a file system keeps: how long after a change another
// one may leave the same time behind. Local ones take it from the kernel's tick
// (1 to 10 ms), which FineGrain is well above; one that keeps whole or even seconds
// shows no fraction.
const (
	FineGrain   = 50 * time.Millisecond
	CoarseGrain = 2500 * time.Millisecond
)

// WithinGrain tells whether the clock may still show the time that a change at t
// left behind: then another change may hide behind it. A time far in the future
// (the clock went back) is not within: the next change will leave a smaller one.
func WithinGrain(now, t time.Time) bool {
	d := now.Sub(t).Abs()
	return d < FineGrain || t.Nanosecond() == 0 && d < CoarseGrain
}
