package delivery

import (
	"errors"
	"fmt"
)

// ErrGroup is wrapped in the error of a target that could have received the message,
// together with the error of the target that could not.
var ErrGroup = errors.New("another user who must receive the message together with this one cannot receive it")

// Group makes the targets with these indexes get the message together or not at all,
// instead of each succeeding or failing by itself: to the client they are one recipient,
// for which it gets one answer. A target may be in several groups. It gets the message if
// one of its groups does as a whole, and then counts as stored even if another group
// failed: it does not wait for the others in that group, and gets the message twice when it
// is sent again. Targets in no group are independent. Group must be called before Commit.
func (s *Spool) Group(targets ...int) {
	g := make([]*target, len(targets))
	for i, n := range targets {
		g[i] = s.targets[n]
		g[i].groups++
		g[i].shared = g[i].shared || len(targets) > 1
	}
	s.groups = append(s.groups, g)
}

// commitGroups does every step for all targets before the next one starts, and leaves out
// targets all of whose groups have failed.
func (s *Spool) commitGroups() {
	s.parallel(func(t *target) {
		if t.write(s); t.err == nil && !t.shared {
			t.room(s)
		}
	})
	s.settle()
	for _, t := range s.targets {
		if t.err == nil {
			t.link()
		}
	}
	s.settle()
	s.parallel(func(t *target) {
		if t.err == nil {
			t.sync(s.opt)
		}
	})
	s.settle()
	s.parallel(func(t *target) {
		if t.err != nil {
			t.unlink(s.opt)
			return
		}
		t.count()
	})
}

// settle fails the targets all of whose groups contain a target that failed.
func (s *Spool) settle() {
	lost := map[*target]int{} // number of failed groups
	why := map[*target]error{}
	for _, g := range s.groups {
		for _, t := range g {
			if t.err == nil {
				continue
			}
			for _, other := range g {
				lost[other]++
				why[other] = t.err
			}
			break
		}
	}
	for t, n := range lost {
		if n == t.groups && t.err == nil {
			t.fail(fmt.Errorf("%w: %w", ErrGroup, why[t]))
		}
	}
}
