package imap

import (
	"cmp"
	"slices"
)

// thread is a message with the answers to it. Without a message it stands for
// one that is not there and holds its answers together.
type thread struct {
	mail     *threadee
	parent   *thread
	place    int // among the parent's children, while threads are linked
	children []*thread
}

// maxThreadDepth bounds the ancestors that are looked at for a loop. What would
// stand below so many begins a thread of its own.
const maxThreadDepth = 1000

// lead is the message of a thread, or the first below it.
func (t *thread) lead() *threadee {
	for t.mail == nil {
		t = t.children[0]
	}
	return t.mail
}

func bySent(a, b *thread) int {
	x, y := a.lead(), b.lead()
	return cmp.Or(cmp.Compare(x.sent, y.sent), cmp.Compare(x.m.Seq, y.m.Seq))
}

// orderedSubject is ORDEREDSUBJECT (RFC 5256 section 3): messages of one base
// subject are one thread, the first the parent of all others.
func orderedSubject(mails []threadee) []*thread {
	bySubject := map[string]*thread{}
	order := make([]*thread, len(mails))
	for i := range mails {
		order[i] = &thread{mail: &mails[i]}
	}
	slices.SortFunc(order, bySent)
	var roots []*thread
	for _, t := range order {
		if root := bySubject[t.mail.subject]; root != nil {
			root.children = append(root.children, t)
			continue
		}
		bySubject[t.mail.subject] = t
		roots = append(roots, t)
	}
	return roots
}

// byReferences is REFERENCES (RFC 5256 section 3); the numbers are its steps.
func byReferences(mails []threadee) []*thread {
	roots := prune(linked(mails))  // (1) to (3)
	sortSiblings(roots)            // needed below for the lead of those without a message
	slices.SortFunc(roots, bySent) // (4)
	roots = joinSubjects(roots)    // (5)
	sortSiblings(roots)            // (6)
	slices.SortFunc(roots, bySent)
	return roots
}

// byRefs is REFS (draft-ietf-morg-inthread): REFERENCES without the step that
// looks at subjects, threads by their latest message, as Dovecot 2.3 has it.
func byRefs(mails []threadee) []*thread {
	roots := prune(linked(mails))
	sortSiblings(roots)
	latest := make(map[*thread]int64, len(roots))
	for _, t := range roots {
		latest[t] = t.latest()
	}
	slices.SortFunc(roots, func(a, b *thread) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(a.lead().m.Seq, b.lead().m.Seq))
	})
	return roots
}

func (t *thread) latest() int64 {
	var n int64
	t.walk(func(t *thread) {
		if t.mail != nil {
			n = max(n, t.mail.sent)
		}
	})
	return n
}

// walk calls f for a thread and all below it, parents first. Threads can be as
// deep as there are messages, so it does not recurse.
func (t *thread) walk(f func(*thread)) {
	stack := []*thread{t}
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], t.children...)
		f(t)
	}
}

// linked makes parents and children of messages (1), and returns all that have
// no parent (2), in the order in which they came up.
func linked(mails []threadee) []*thread {
	byID := make(map[string]*thread, len(mails))
	var all []*thread
	named := func(id string) *thread {
		t := byID[id]
		if t == nil {
			t = &thread{}
			byID[id] = t
			all = append(all, t)
		}
		return t
	}
	for i := range mails {
		mail := &mails[i]
		var t *thread
		if mail.id != "" {
			t = named(mail.id)
		}
		if t == nil || t.mail != nil {
			// Without an identifier, or with that of another message: nobody can
			// name this one.
			t = &thread{}
			all = append(all, t)
		}
		t.mail = mail
		var before *thread
		for _, id := range mail.references {
			r := named(id)
			if before != nil && r.parent == nil && !r.above(before) {
				before.adopt(r)
			}
			before = r
		}
		// What the message itself says of its parent is better than what others
		// said.
		if t.parent != nil {
			t.leave()
		}
		if before != nil && !t.above(before) {
			before.adopt(t)
		}
	}
	return slices.DeleteFunc(all, func(t *thread) bool { return t.parent != nil })
}

// above tells whether other is t or below it, or too deep to know.
func (t *thread) above(other *thread) bool {
	if t == other {
		return true
	}
	if len(t.children) == 0 {
		return false
	}
	for range maxThreadDepth {
		if other = other.parent; other == nil || other == t {
			return other == t
		}
	}
	return true
}

func (t *thread) adopt(child *thread) {
	child.parent, child.place = t, len(t.children)
	t.children = append(t.children, child)
}

func (t *thread) leave() {
	siblings := t.parent.children
	last := len(siblings) - 1
	siblings[t.place] = siblings[last]
	siblings[t.place].place = t.place
	t.parent.children = siblings[:last]
	t.parent = nil
}

// prune takes out the threads that have no message (3): their children go up,
// but at the top only an only child does.
func prune(roots []*thread) []*thread {
	// Children before their parents.
	var order []*thread
	for _, root := range roots {
		root.walk(func(t *thread) { order = append(order, t) })
	}
	for _, t := range slices.Backward(order) {
		t.children = lifted(t.children)
	}
	var kept []*thread
	for _, t := range roots {
		switch {
		case t.mail != nil || len(t.children) > 1:
			kept = append(kept, t)
		case len(t.children) == 1:
			kept = append(kept, t.children[0])
		}
	}
	for _, t := range kept {
		t.parent = nil
	}
	return kept
}

// lifted puts the children of those without a message in their place.
func lifted(siblings []*thread) []*thread {
	if !slices.ContainsFunc(siblings, func(t *thread) bool { return t.mail == nil }) {
		return siblings
	}
	var out []*thread
	for _, t := range siblings {
		if t.mail != nil {
			out = append(out, t)
		} else {
			out = append(out, t.children...)
		}
	}
	return out
}

// sortSiblings sorts all that have the same parent, the lowest first (6).
func sortSiblings(roots []*thread) {
	var order []*thread
	for _, root := range roots {
		root.walk(func(t *thread) { order = append(order, t) })
	}
	for _, t := range slices.Backward(order) {
		slices.SortFunc(t.children, bySent)
	}
}

// joinSubjects joins threads of the same base subject (5).
func joinSubjects(roots []*thread) []*thread {
	table := map[string]*thread{}
	for _, t := range roots {
		lead := t.lead()
		if lead.subject == "" {
			continue
		}
		have := table[lead.subject]
		switch {
		case have == nil,
			have.mail != nil && t.mail == nil,
			have.mail != nil && have.mail.reply && t.mail != nil && !t.mail.reply:
			table[lead.subject] = t
		}
	}
	gone := map[*thread]bool{}
	for i, t := range roots {
		subject := t.lead().subject
		have := table[subject]
		if subject == "" || have == t || gone[t] {
			continue
		}
		gone[t] = true
		switch {
		case have.mail == nil && t.mail == nil:
			have.children = append(have.children, t.children...)
		case have.mail == nil, t.mail != nil && t.mail.reply && !have.mail.reply:
			have.children = append(have.children, t)
		default:
			both := &thread{children: []*thread{have, t}}
			gone[have] = true
			// It stands where the current one stood.
			roots[i] = both
			table[subject] = both
		}
	}
	return slices.DeleteFunc(roots, func(t *thread) bool { return gone[t] })
}
