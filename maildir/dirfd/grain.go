package dirfd

import "time"

// The granularity of file times: for how long after a change another change may leave the
// same time. Local file systems take the time from the kernel's tick (1 to 10 ms), which
// FineGrain exceeds by far; a time on a file system that stores whole or even seconds has
// no fraction.
const (
	FineGrain   = 50 * time.Millisecond
	CoarseGrain = 2500 * time.Millisecond
)

// WithinGrain reports whether a change at the time now could leave the same time as the
// change at t, so that it could go unnoticed. A time far in the future (the clock was set
// back) is not within the granularity: the next change will leave a smaller one.
func WithinGrain(now, t time.Time) bool {
	d := now.Sub(t).Abs()
	return d < FineGrain || t.Nanosecond() == 0 && d < CoarseGrain
}
