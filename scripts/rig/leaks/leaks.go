// Package leaks fails tests after which goroutines are left, as goleak does, and
// gives those that are about to end more time for it: goleak's half a second is
// short on a busy machine.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end.
const patience = time.Minute

// Main runs a package's tests and ends the process. It fails if they leave a
// goroutine.
func Main(m *testing.M) { goleak.VerifyTestMain(settled{m}) }

// settled runs the tests, and gives what is about to end the time for it.
type settled struct{ *testing.M }

func (s settled) Run() int {
	code := s.M.Run()
	wait()
	return code
}

// None fails the test if there is a goroutine that is not of the test runner, or
// that options tell to pass over.
func None(t testing.TB, options ...goleak.Option) {
	t.Helper()
	wait(options...)
	goleak.VerifyNone(t, options...)
}

func wait(options ...goleak.Option) {
	for end := time.Now().Add(patience); goleak.Find(options...) != nil && time.Now().Before(end); {
	}
}
