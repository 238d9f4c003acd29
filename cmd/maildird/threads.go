package main

import (
	"os"
	"runtime"
)

// letThreadsBlock lets Go run code on twice as many threads as there are
// processors, unless GOMAXPROCS says how many.
//
// A thread that waits for an fsync keeps one of these places until the runtime
// takes it away, which it does after 20 µs at the earliest and, as the kernel's
// timers are, after about 100: on a fast disk that is as long as the fsync. With
// as many places as processors, deliveries over many connections wait for places
// while the processors and the disk are idle.
//
// What sizes itself by the processors does so before. A limit of a control group counts
// as it is at the start; the runtime does not follow it after this.
func letThreadsBlock() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
