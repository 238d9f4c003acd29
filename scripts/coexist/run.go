package coexist

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Actor is a program, or a session of it, that does one thing at a time.
type Actor interface {
	Name() string
	// Step does one thing, chosen with rng, and names it.
	Step(rng *rand.Rand) (what string, err error)
	Close()
}

// Run lets all actors work at the same time for d. Each chooses its steps with its
// own generator, which is derived from the seed and the name of the actor. The first
// error ends the run.
func Run(ctx context.Context, l *Ledger, seed uint64, d time.Duration, actors []Actor) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	errs := make([]error, len(actors))
	var all sync.WaitGroup
	for i, a := range actors {
		all.Go(func() {
			h := fnv.New64a()
			h.Write([]byte(a.Name()))
			rng := rand.New(rand.NewPCG(seed, h.Sum64()))
			for n := 1; ctx.Err() == nil; n++ {
				what, err := a.Step(rng)
				if err != nil {
					errs[i] = fmt.Errorf("%s, step %d (%s): %w", a.Name(), n, what, err)
					cancel()
					return
				}
				l.Count(a.Name() + ": " + what)
				pause := time.NewTimer(time.Duration(rng.IntN(40)) * time.Millisecond)
				select {
				case <-pause.C:
				case <-ctx.Done():
					pause.Stop()
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// pick chooses one of the words by weight.
func pick(rng *rand.Rand, weights []weight) string {
	sum := 0
	for _, w := range weights {
		sum += w.n
	}
	n := rng.IntN(sum)
	for _, w := range weights {
		if n -= w.n; n < 0 {
			return w.what
		}
	}
	panic("not reached")
}

// weight is a kind of step and its relative frequency.
type weight struct {
	what string
	n    int
}

// other chooses a folder other than the given one.
func other(rng *rand.Rand, folders []string, not string) string {
	for {
		if f := folders[rng.IntN(len(folders))]; f != not {
			return f
		}
	}
}
