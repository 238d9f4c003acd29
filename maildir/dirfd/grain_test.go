package dirfd

import (
	"testing"
	"time"
)

func TestWithinGrain(t *testing.T) {
	whole := time.Unix(1_700_000_000, 0)
	part := whole.Add(123 * time.Millisecond)
	for _, c := range []struct {
		changed time.Time
		after   time.Duration
		want    bool
	}{
		{part, 0, true}, {part, FineGrain - 1, true}, {part, FineGrain, false}, {part, -FineGrain + 1, true}, {part, -time.Hour, false},
		{whole, FineGrain, true}, {whole, CoarseGrain - 1, true}, {whole, CoarseGrain, false}, {whole, -time.Hour, false},
	} {
		if got := WithinGrain(c.changed.Add(c.after), c.changed); got != c.want {
			t.Errorf("%v after a change at %v: %v", c.after, c.changed, got)
		}
	}
}
