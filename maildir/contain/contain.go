// Package contain keeps a panic from ending the program, and with it everybody's sessions. A
// session recovers from its own. Work on mail that is done in another goroutine uses this
// package: Group if somebody waits for it, so that a panic ends the session that asked for the
// work; Run if nobody does.
package contain

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Group runs functions, each in a goroutine of its own. The zero value is ready for use.
type Group struct {
	running sync.WaitGroup
	fault   atomic.Pointer[string]
}

// Go calls f in another goroutine.
func (g *Group) Go(f func()) {
	g.running.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				text := fmt.Sprintf("%v\n%s", p, debug.Stack())
				g.fault.CompareAndSwap(nil, &text)
			}
		}()
		f()
	})
}

// Wait waits until all functions have returned, even if one of them panics. Then it panics
// too, with the text and the stack of the first panic. Several goroutines may call it.
func (g *Group) Wait() {
	g.running.Wait()
	if text := g.fault.Load(); text != nil {
		panic(*text)
	}
}

// Run calls f, for which nobody waits. A panic is logged with msg and its stack, and ends f
// only; then Run returns false.
func Run(log *slog.Logger, msg string, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			log.Error(msg, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}
