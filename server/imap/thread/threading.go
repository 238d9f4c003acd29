// Package thread puts messages into threads, by the algorithms of THREAD (RFC 5256
// section 3, and draft-ietf-morg-inthread). It knows of a message what it is told,
// and reads nothing. The algorithms take messages in any order, whatever these say
// of each other, and give threads that point to them.
package thread

import (
	"cmp"
	"slices"

	"maildird/maildir/mailbox"
)

// Mail is what threading needs of a message.
type Mail struct {
	Message    mailbox.Message
	ID         string   // its Message-ID, "" if it has none
	References []string // of those that it answers, the oldest first
	Sent       int64    // Unix time
	Subject    string   // base subject, to be compared as it is
	Reply      bool     // the subject is one of a reply or a forwarded message
}

// Thread is a message with the answers to it. Without a message it stands for
// one that is not there and holds its answers together: it has at least one.
// Threads can be as deep as there are messages.
type Thread struct {
	Mail     *Mail
	Children []*Thread // in their order

	// While threads are linked:
	parent *Thread
	place  int // among the parent's children
}

// maxThreadDepth bounds the ancestors that are looked at for a loop. What would
// stand below so many begins a thread of its own.
const maxThreadDepth = 1000

// lead is the message of a thread, or the first below it.
func (t *Thread) lead() *Mail {
	for t.Mail == nil {
		t = t.Children[0]
	}
	return t.Mail
}

func bySent(a, b *Thread) int {
	x, y := a.lead(), b.lead()
	return cmp.Or(cmp.Compare(x.Sent, y.Sent), cmp.Compare(x.Message.Seq, y.Message.Seq))
}

// OrderedSubject is ORDEREDSUBJECT (RFC 5256 section 3): messages of one base
// subject are one thread, the first the parent of all others.
func OrderedSubject(mails []Mail) []*Thread {
	bySubject := map[string]*Thread{}
	order := make([]*Thread, len(mails))
	for i := range mails {
		order[i] = &Thread{Mail: &mails[i]}
	}
	slices.SortFunc(order, bySent)
	var roots []*Thread
	for _, t := range order {
		if root := bySubject[t.Mail.Subject]; root != nil {
			root.Children = append(root.Children, t)
			continue
		}
		bySubject[t.Mail.Subject] = t
		roots = append(roots, t)
	}
	return roots
}

// ByReferences is REFERENCES (RFC 5256 section 3); the numbers are its steps.
func ByReferences(mails []Mail) []*Thread {
	roots := prune(linked(mails))  // (1) to (3)
	sortSiblings(roots)            // needed below for the lead of those without a message
	slices.SortFunc(roots, bySent) // (4)
	roots = joinSubjects(roots)    // (5)
	sortSiblings(roots)            // (6)
	slices.SortFunc(roots, bySent)
	return roots
}

// ByRefs is REFS (draft-ietf-morg-inthread): REFERENCES without the step that
// looks at subjects, threads by their latest message, as Dovecot 2.3 has it.
func ByRefs(mails []Mail) []*Thread {
	roots := prune(linked(mails))
	sortSiblings(roots)
	latest := make(map[*Thread]int64, len(roots))
	for _, t := range roots {
		latest[t] = t.latest()
	}
	slices.SortFunc(roots, func(a, b *Thread) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(a.lead().Message.Seq, b.lead().Message.Seq))
	})
	return roots
}

func (t *Thread) latest() int64 {
	var n int64
	t.walk(func(t *Thread) {
		if t.Mail != nil {
			n = max(n, t.Mail.Sent)
		}
	})
	return n
}

// walk calls f for a thread and all below it, parents first. Threads can be as
// deep as there are messages, so it does not recurse.
func (t *Thread) walk(f func(*Thread)) {
	stack := []*Thread{t}
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], t.Children...)
		f(t)
	}
}

// upwards calls f for threads and all below them, children first.
func upwards(roots []*Thread, f func(*Thread)) {
	var order []*Thread
	for _, root := range roots {
		root.walk(func(t *Thread) { order = append(order, t) })
	}
	for _, t := range slices.Backward(order) {
		f(t)
	}
}

// linked makes parents and children of messages (1), and returns all that have
// no parent (2), in the order in which they came up.
func linked(mails []Mail) []*Thread {
	byID := make(map[string]*Thread, len(mails))
	var all []*Thread
	named := func(id string) *Thread {
		t := byID[id]
		if t == nil {
			t = &Thread{}
			byID[id] = t
			all = append(all, t)
		}
		return t
	}
	for i := range mails {
		mail := &mails[i]
		var t *Thread
		if mail.ID != "" {
			t = named(mail.ID)
		}
		if t == nil || t.Mail != nil {
			// Without an identifier, or with that of another message: nobody can
			// name this one.
			t = &Thread{}
			all = append(all, t)
		}
		t.Mail = mail
		var before *Thread
		for _, id := range mail.References {
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
	return slices.DeleteFunc(all, func(t *Thread) bool { return t.parent != nil })
}

// above tells whether other is t or below it, or too deep to know.
func (t *Thread) above(other *Thread) bool {
	if t == other {
		return true
	}
	if len(t.Children) == 0 {
		return false
	}
	for range maxThreadDepth {
		if other = other.parent; other == nil || other == t {
			return other == t
		}
	}
	return true
}

func (t *Thread) adopt(child *Thread) {
	child.parent, child.place = t, len(t.Children)
	t.Children = append(t.Children, child)
}

func (t *Thread) leave() {
	siblings := t.parent.Children
	last := len(siblings) - 1
	siblings[t.place] = siblings[last]
	siblings[t.place].place = t.place
	t.parent.Children = siblings[:last]
	t.parent = nil
}

// prune takes out the threads that have no message (3): their children go up,
// but at the top only an only child does.
func prune(roots []*Thread) []*Thread {
	upwards(roots, func(t *Thread) { t.Children = lifted(t.Children) })
	var kept []*Thread
	for _, t := range roots {
		switch {
		case t.Mail != nil || len(t.Children) > 1:
			kept = append(kept, t)
		case len(t.Children) == 1:
			kept = append(kept, t.Children[0])
		}
	}
	return kept
}

// lifted puts the children of those without a message in their place.
func lifted(siblings []*Thread) []*Thread {
	if !slices.ContainsFunc(siblings, func(t *Thread) bool { return t.Mail == nil }) {
		return siblings
	}
	var out []*Thread
	for _, t := range siblings {
		if t.Mail != nil {
			out = append(out, t)
		} else {
			out = append(out, t.Children...)
		}
	}
	return out
}

// sortSiblings sorts all that have the same parent, the lowest first (6).
func sortSiblings(roots []*Thread) {
	upwards(roots, func(t *Thread) { slices.SortFunc(t.Children, bySent) })
}

// joinSubjects joins threads of the same base subject (5).
func joinSubjects(roots []*Thread) []*Thread {
	table := map[string]*Thread{}
	for _, t := range roots {
		lead := t.lead()
		if lead.Subject == "" {
			continue
		}
		have := table[lead.Subject]
		switch {
		case have == nil,
			have.Mail != nil && t.Mail == nil,
			have.Mail != nil && have.Mail.Reply && t.Mail != nil && !t.Mail.Reply:
			table[lead.Subject] = t
		}
	}
	gone := map[*Thread]bool{}
	for i, t := range roots {
		subject := t.lead().Subject
		have := table[subject]
		if subject == "" || have == t || gone[t] {
			continue
		}
		gone[t] = true
		switch {
		case have.Mail == nil && t.Mail == nil:
			have.Children = append(have.Children, t.Children...)
		case have.Mail == nil, t.Mail != nil && t.Mail.Reply && !have.Mail.Reply:
			have.Children = append(have.Children, t)
		default:
			both := &Thread{Children: []*Thread{have, t}}
			gone[have] = true
			// It stands where the current one stood.
			roots[i] = both
			table[subject] = both
		}
	}
	return slices.DeleteFunc(roots, func(t *Thread) bool { return gone[t] })
}
