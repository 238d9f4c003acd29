package mailbox

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1700000000, 0)
	for i, step := range []struct {
		after time.Duration
		do    func()
		due   bool
	}{
		{due: true},
		{due: false},
		{after: 59 * time.Second, due: false},
		{after: time.Second, due: true},
		{after: -2 * time.Minute, due: true}, // the clock was set back
		{do: p.again, due: true},
		{after: time.Minute, do: func() { p.done(now) }, due: false},
	} {
		now = now.Add(step.after)
		if step.do != nil {
			step.do()
		}
		if due := p.due(now, time.Minute); due != step.due {
			t.Errorf("step %d: due %v", i, due)
		}
	}
}
