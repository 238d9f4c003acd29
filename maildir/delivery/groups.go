package delivery

import (
	"errors"
	"fmt"
)

// ErrGroup is in the error of a target that could have had the message, beside that of
// the target that could not.
var ErrGroup = errors.New("another user who must receive the message together with this one cannot receive it")

// Group makes targets, by index, get the message together or not at all, where every
// target would succeed or fail by itself: they are one recipient to the client, who has
// one answer for them. A target may be in several groups. It gets the message if one of
// these does as a whole, and then counts as stored although another group failed: it does
// not wait for whoever is in that one, and has the message twice when it comes again.
// Targets in no group stand for themselves. To be called before Commit.
func (s *Spool) Group(targets ...int) {
	g := make([]*target, len(targets))
	for i, n := range targets {
		g[i] = s.targets[n]
		g[i].groups++
		g[i].shared = g[i].shared || len(targets) > 1
	}
	s.groups = append(s.groups, g)
}

// commitGroups does every step for all before the next one begins, and leaves out who
// has nobody left to get the message with.
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

// settle fails the targets all of whose groups have one that failed.
func (s *Spool) settle() {
	lost := map[*target]int{} // groups
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
