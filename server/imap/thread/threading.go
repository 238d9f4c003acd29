// Package thread groups messages into threads by the algorithms of THREAD (RFC 5256 section 3,
// draft-ietf-morg-inthread). It does no I/O: the caller provides everything that it needs to
// know of the messages. They may be given in any order, and may refer to each other in any way.
// The threads that are returned point to them.
package thread

import (
	"cmp"
	"slices"

	"maildird/maildir/mailbox"
)

// Mail is a message to be threaded. Its texts are numbered by the same Names as those of the
// other messages.
type Mail struct {
	Message    mailbox.Message
	ID         Name   // Message-ID
	References []Name // identifiers of the messages that it answers, the oldest first
	Sent       int64  // Unix time
	Subject    Name   // base subject, normalised for comparison
	Reply      bool   // the subject is that of a reply or a forwarded message
}

// Name is the number of a text, 0 of the empty one.
type Name uint32

// Names numbers texts, so that each is in memory only once, however many messages contain it.
// The zero value is ready to use.
type Names struct {
	numbers map[string]Name
	octets  int64
}

// nameOctets is about what a text takes besides its own octets, with its Thread.
const nameOctets = 128

// Of returns the number of a text.
func (n *Names) Of(text []byte) Name {
	if len(text) == 0 {
		return 0
	}
	name, known := n.numbers[string(text)]
	if !known {
		if n.numbers == nil {
			n.numbers = map[string]Name{}
		}
		name = Name(len(n.numbers) + 1)
		n.numbers[string(text)] = name
		n.octets += int64(len(text)) + nameOctets
	}
	return name
}

// Octets returns about how much memory the texts take, and what the algorithms keep of each.
func (n *Names) Octets() int64 { return n.octets }

// Thread is a message and the replies to it. If Mail is nil, it represents a missing message
// that has replies, and has at least one child. Threads can be as deep as there are messages.
type Thread struct {
	Mail     *Mail
	Children []*Thread // in order

	// Only used by linked:
	parent *Thread
	place  int // index in the parent's children
}

// maxThreadDepth is the maximum number of ancestors that are checked for a loop. A message at
// greater depth begins a thread of its own.
const maxThreadDepth = 1000

// lead returns the message of a thread or, if that is missing, the first message below it.
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

// OrderedSubject implements ORDEREDSUBJECT (RFC 5256 section 3): messages with the same base
// subject are a thread, in which the first is the parent of all others.
func OrderedSubject(mails []Mail) []*Thread {
	bySubject := map[Name]*Thread{}
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

// ByReferences implements REFERENCES (RFC 5256 section 3). The numbers in
// parentheses are its steps.
func ByReferences(mails []Mail) []*Thread {
	roots := prune(linked(mails))  // (1) to (3)
	sortSiblings(roots)            // the roots without a message need it for lead
	slices.SortFunc(roots, bySent) // (4)
	roots = joinSubjects(roots)    // (5)
	sortSiblings(roots)            // (6)
	slices.SortFunc(roots, bySent)
	return roots
}

// ByRefs implements REFS (draft-ietf-morg-inthread): REFERENCES without the step that joins
// subjects, with threads sorted by their latest message, as in Dovecot 2.3.
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

// walk calls f for a thread and all threads below it, parents first. It is not recursive,
// because threads can be as deep as there are messages.
func (t *Thread) walk(f func(*Thread)) {
	stack := []*Thread{t}
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], t.Children...)
		f(t)
	}
}

// upwards calls f for threads and all threads below them, children first.
func upwards(roots []*Thread, f func(*Thread)) {
	var order []*Thread
	for _, root := range roots {
		root.walk(func(t *Thread) { order = append(order, t) })
	}
	for _, t := range slices.Backward(order) {
		f(t)
	}
}

// linked links messages to their parents (1) and returns those without a parent (2),
// in order of appearance.
func linked(mails []Mail) []*Thread {
	var byID, all []*Thread
	named := func(id Name) *Thread {
		if more := int(id) + 1 - len(byID); more > 0 {
			byID = append(byID, make([]*Thread, more)...)
		}
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
		if mail.ID != 0 {
			t = named(mail.ID)
		}
		if t == nil || t.Mail != nil {
			// Without an identifier, or with one that another message has, no message can
			// refer to this one.
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
		// What the message itself says about its parent takes precedence over
		// what other messages say.
		if t.parent != nil {
			t.leave()
		}
		if before != nil && !t.above(before) {
			before.adopt(t)
		}
	}
	return slices.DeleteFunc(all, func(t *Thread) bool { return t.parent != nil })
}

// above reports whether other is t, is below t, or is too deep to tell.
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

// prune removes threads without a message (3). Their children are moved up; at the top level
// only if there is just one.
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

// lifted replaces threads without a message by their children.
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

// sortSiblings sorts the children of each thread, the lowest level first (6).
func sortSiblings(roots []*Thread) {
	upwards(roots, func(t *Thread) { slices.SortFunc(t.Children, bySent) })
}

// joinSubjects joins threads with the same base subject (5).
func joinSubjects(roots []*Thread) []*Thread {
	table := map[Name]*Thread{}
	for _, t := range roots {
		lead := t.lead()
		if lead.Subject == 0 {
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
		if subject == 0 || have == t || gone[t] {
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
			// It takes the place of the current one.
			roots[i] = both
			table[subject] = both
		}
	}
	return slices.DeleteFunc(roots, func(t *Thread) bool { return gone[t] })
}
