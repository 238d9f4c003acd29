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

// Asker is the one who waits for a search. Its functions are called by the goroutine that
// searches, except where noted.
type Asker struct {
	Ctx  context.Context // ends all waiting
	View *mailbox.View
	// Working is told how many of goal messages have been tested. Its error ends the search.
	Working func(tested, goal int) error
	// Interrupted returns an error if the reading of a long message must end.
	Interrupted func() error
	// Missed is told about a message that could not be read, and so does not match. It is
	// called by other goroutines too, but never concurrently.
	Missed func(mailbox.Message, error)
	// Helpers is a semaphore shared by all commands that read files. Its capacity is the maximum
	// number of their helper goroutines.
	Helpers chan struct{}
}

// Searcher tests messages, one after the other. Only one goroutine may use it.
type Searcher struct {
	asker *Asker
	plan  *plan

	fields  map[string][]int // probes InField, by lower-case field name
	names   []string         // of these fields, if all can be found by EachNamed and no probe is InText; else nil
	scanner *casemap.Scanner // for the other probes
	scanned []int            // indexes of the other probes; those InText come first
	inText  int              // how many of those are InText
	crlf    bool             // one of those contains a line end
	reader  message.TextReader

	field  []byte // memory for header fields
	value  []byte // memory for a field value
	folded []byte // memory for its form of casemap.Append

	cached *mailbox.Cached // nil if the view knows everything that is needed
	// check ends the reading of a long message. It is the asker's Interrupted or,
	// in a helper, work.check.
	check func() error
	// missed is the asker's Missed or, with helpers, that under a lock.
	missed func(mailbox.Message, error)

	Candidate // the message being tested
	err       error
	answers   []answer // by index of the probe
}

// New prepares a program for the mailbox of the asker. The program must not be changed
// afterwards. saved is the value of "$". The caller must call Close.
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

// ordinary returns the names of the fields if message.EachNamed can look for them and nothing
// else in a header matters, else nil.
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

// maxFieldName is the maximum length of a field name that SEARCH finds.
const maxFieldName = 64

// Close releases the resources of the searcher.
func (sr *Searcher) Close() {
	if sr.cached != nil {
		sr.cached.Close()
	}
}

// Matches tests a message, cheap keys first. It opens the file at most once. A message that
// cannot be read does not match.
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

// answer returns the result of a test as far as it is known at this cost.
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

// sentDate returns the Date field as it is written, in its own zone.
func (sr *Searcher) sentDate() (time.Time, bool) {
	head, err := sr.File.Header()
	sr.failed(err)
	text, ok := message.Field(head, "Date")
	if !ok {
		return time.Time{}, false
	}
	return message.ParseDate(text)
}
