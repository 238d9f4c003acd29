package main

import (
	"os"
	"runtime"
)

// letThreadsBlock lets Go run code on twice as many threads as there are processors,
// unless GOMAXPROCS is set.
//
// A thread that waits for an fsync occupies one of these places until the runtime takes it
// away, after 20 µs at the earliest and, because of the kernel's timers, after about 100 µs: on
// a fast disk that is as long as the fsync takes. With one place per processor, deliveries over
// many connections would wait for places while the processors and the disk are idle.
//
// Whatever is sized by the number of processors must be set up before. The runtime no longer
// follows changes of a control group's limit after this call.
func letThreadsBlock() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
