// Package leaks fails tests that leave goroutines behind, as goleak does, but gives goroutines
// more time to end: goleak's half a second is too short on a busy machine.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end.
const patience = time.Minute

// Main runs the tests of a package and exits. It fails if they leave a goroutine behind.
func Main(m *testing.M) { goleak.VerifyTestMain(settled{m}) }

// settled runs the tests, and then waits for goroutines that are about to end.
type settled struct{ *testing.M }

func (s settled) Run() int {
	code := s.M.Run()
	wait()
	return code
}

// None fails the test if a goroutine exists other than those of the test runner and those
// that the options ignore.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	wait(options...)
	goleak.VerifyNone(t, options...)
}

func wait(options ...goleak.Option) {
	for end := time.Now().Add(patience); goleak.Find(options...) != nil && time.Now().Before(end); {
	}
}
