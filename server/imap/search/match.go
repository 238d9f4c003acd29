package search

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"maildird/maildir/mailbox"
	"maildird/maildir/message"
	"maildird/server/imap/casemap"
)

// Asker is who waits for a search. Its functions are called by the goroutine that
// searches, unless they say otherwise.
type Asker struct {
	Ctx  context.Context // nothing is waited for when it ends
	View *mailbox.View
	// Working hears how many messages of how many are tested. An error ends the search.
	Working func(tested, goal int) error
	// Interrupted returns an error when the reading of a long message is to end.
	Interrupted func() error
	// Missed hears of a message that could not be read, and does not match. Other
	// goroutines call it too, one at a time.
	Missed func(mailbox.Message, error)
	// Helpers is a semaphore that all searches share: its capacity is how many
	// goroutines may help at a time.
	Helpers chan struct{}
}

// Searcher tests messages, one after the other. For one goroutine.
type Searcher struct {
	asker *Asker
	plan  *plan

	fields  map[string][]int // probes that are InField, by lower-case field name
	names   []string         // of these fields, if all are ordinary and no probe is InText
	scanner *casemap.Scanner // for the other probes
	scanned []int            // which these are; those InText are the first
	inText  int              // how many of them
	crlf    bool             // one of them has a line end in it
	reader  message.TextReader

	field  []byte // room for header fields
	value  []byte // room for one of them
	folded []byte // room for its other form

	cached *mailbox.Cached // nil for what needs no more than the view
	// check ends the reading of a long message: the asker's Interrupted, or for a
	// helper what tells that nobody waits for it.
	check func() error
	// missed is the asker's Missed, or for a helper that behind a lock.
	missed func(mailbox.Message, error)

	Candidate // the message that is tested
	err       error
	answers   []answer // of the probes
}

// New makes a program ready for the mailbox of the asker, which is not to change from
// then on. saved is what "$" stands for. Close it.
func New(asker *Asker, program *Program, saved []mailbox.Range) *Searcher {
	return newSearcher(asker, program.plan(asker.View, saved))
}

func newSearcher(asker *Asker, plan *plan) *Searcher {
	sr := &Searcher{
		asker: asker, plan: plan, check: asker.Interrupted, missed: asker.Missed, Candidate: Candidate{Ctx: asker.Ctx, View: asker.View},
		answers: make([]answer, len(plan.probes)), fields: map[string][]int{},
	}
	var needles [][]byte
	for _, in := range []Place{InText, InBody} {
		for i, p := range plan.probes {
			if p.In == in {
				sr.scanned = append(sr.scanned, i)
				needles = append(needles, p.Needle)
			}
		}
		if in == InText {
			sr.inText = len(needles)
		}
	}
	for i, p := range plan.probes {
		if p.In == InField {
			name := strings.ToLower(p.Field)
			sr.fields[name] = append(sr.fields[name], i)
		}
	}
	sr.names = sr.ordinary()
	sr.scanner = casemap.NewScanner(needles)
	if plan.test.cost > CostNothing {
		sr.cached = asker.View.Cached()
	}
	sr.crlf = slices.ContainsFunc(needles, func(n []byte) bool { return bytes.ContainsAny(n, "\r\n") })
	return sr
}

// ordinary gives the names of the fields if they are all that counts in a header
// and can be looked for by message.EachNamed.
func (sr *Searcher) ordinary() []string {
	names := slices.Collect(maps.Keys(sr.fields))
	if sr.inText > 0 || len(names) > 4 {
		return nil
	}
	for _, n := range names {
		if !message.IsFieldName(n) || len(n) > maxFieldName {
			return nil
		}
	}
	return names
}

// maxFieldName is the longest name of a header field that SEARCH finds.
const maxFieldName = 64

// Close gives back what the searcher has.
func (sr *Searcher) Close() {
	if sr.cached != nil {
		sr.cached.Close()
	}
}

// Matches tests a message, by what is cheap first. The file is opened once at
// most. What cannot be read does not match.
func (sr *Searcher) Matches(m mailbox.Message) bool {
	sr.Message, sr.err = m, nil
	clear(sr.answers)
	result := sr.answer(&sr.plan.test, CostNothing)
	for cost := CostStat; cost < costs && result == isOpen && sr.err == nil; cost++ {
		if cost <= sr.plan.test.cost {
			sr.load(cost)
			result = sr.answer(&sr.plan.test, cost)
		}
	}
	if sr.File != nil {
		sr.File.Remember()
		sr.File.Close()
		sr.File = nil
	}
	if sr.err != nil {
		if !errors.Is(sr.err, errStopped) {
			sr.missed(m, sr.err)
		}
		return false
	}
	return result == isTrue
}

// answer gives the result of a test as far as it is known at this cost.
func (sr *Searcher) answer(t *test, cost Cost) answer {
	switch t.op {
	case And:
		a := isTrue
		for i := range t.tests {
			if a = min(a, sr.answer(&t.tests[i], cost)); a == isFalse {
				break
			}
		}
		return a
	case Or:
		a := isFalse
		for i := range t.tests {
			if a = max(a, sr.answer(&t.tests[i], cost)); a == isTrue {
				break
			}
		}
		return a
	case Not:
		return -sr.answer(&t.tests[0], cost)
	case AnyFlag:
		return answerOf(sr.Message.Flags&t.flags != 0)
	case NoFlag:
		return answerOf(sr.Message.Flags&t.flags == 0)
	case Recent:
		return answerOf(sr.Message.Recent)
	case Seq:
		return answerOf(inRanges(t.ranges, sr.Message.Seq))
	case UID:
		return answerOf(inRanges(t.ranges, sr.Message.UID))
	case Text:
		return sr.answers[t.probe]
	}
	if t.cost > cost || sr.err != nil {
		return isOpen
	}
	if t.op == Extension {
		yes, err := t.own.Matches(&sr.Candidate)
		sr.failed(err)
		return answerOf(yes)
	}
	return answerOf(sr.measured(t))
}

// measured tests sizes and dates.
func (sr *Searcher) measured(t *test) bool {
	switch t.op {
	case Larger, Smaller:
		n, err := sr.View.Size(sr.Message, sr.check)
		sr.failed(err)
		if t.op == Larger {
			return n > t.n
		}
		return n < t.n
	case Before, On, Since:
		date, err := sr.View.Date(sr.Message)
		sr.failed(err)
		return t.op.OfDay(date, t.n)
	default:
		date, ok := sr.sentDate()
		return ok && t.op.OfDay(date, t.n)
	}
}

func (sr *Searcher) failed(err error) {
	if sr.err == nil {
		sr.err = err
	}
}

// sentDate returns the Date of the header, as it stands there: the zone does
// not count.
func (sr *Searcher) sentDate() (time.Time, bool) {
	head, err := sr.File.Header()
	sr.failed(err)
	text, ok := message.Field(head, "Date")
	if !ok {
		return time.Time{}, false
	}
	return message.ParseDate(text)
}
