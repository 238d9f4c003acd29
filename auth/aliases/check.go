package aliases

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// maxHeldTargets limits the memory of a check, in targets.
const maxHeldTargets = 100 * MaxUsers

// problems returns the problems found by parsing, and those of where entries lead now, sorted
// by line and without duplicates. If ctx ends, the result is incomplete.
func (a *Aliases) problems(ctx context.Context, t *table, parsed []problem) []problem {
	all := slices.Clone(parsed)
	w := &walk{of: a, table: t, note: true}
	for _, e := range t.entries {
		if ctx.Err() != nil {
			break
		}
		if w.held > maxHeldTargets { // thousands of aliases that lead to a thousand users each
			w.known, w.held = nil, 0
		}
		switch {
		case !e.of.isDomain():
			if r := w.through(e, e.of.String(), ""); a.isUsers(e, r) {
				all = append(all, problem{e.line, fmt.Sprintf(
					"%s is a user, who alone gets this mail: for others to get copies, the line must lead to that user too", e.of)})
			}
		case e.targets[0].isDomain():
			all = append(all, t.checkDomain(e)...)
		default:
			w.through(e, e.of.String(), "")
		}
	}
	all = append(all, w.faults...)
	slices.SortStableFunc(all, func(p, q problem) int { return cmp.Compare(p.line, q.line) })
	seen := map[problem]bool{}
	return slices.DeleteFunc(all, func(p problem) bool {
		before := seen[p]
		seen[p] = true
		return before
	})
}

// checkDomain reports a domain that leads in a circle.
func (t *table) checkDomain(e *entry) []problem {
	seen := map[string]bool{}
	for at := e; at != nil && at.targets[0].isDomain(); at = t.byKey[at.targets[0].String()] {
		if seen[at.of.String()] {
			return []problem{{e.line, fmt.Sprintf("leads in a circle, through %s", at.of)}}
		}
		seen[at.of.String()] = true
	}
	return nil
}

// isUsers reports whether an entry has no effect, because its address, in its domain or in each
// of ours if it has none, is that of a user whom the entry does not lead to.
func (a *Aliases) isUsers(e *entry, leads *result) bool {
	in := []string{e.of.domain}
	if e.of.domain == "" {
		in = in[:0]
		for _, configured := range a.ours {
			in = append(in, configured)
		}
	}
	for _, domain := range in {
		u, ok := a.user(address{e.of.local, domain}, "")
		if !ok || leads.users[u.Name] {
			return false
		}
	}
	return true
}
