package imap

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"maildird/maildir/mailbox"
	"maildird/maildir/message"
	"maildird/server/imap/casemap"
	"maildird/server/imap/mailfile"
)

// searcher tests messages, one after the other.
type searcher struct {
	s       *session
	plan    *searchPlan
	lacking lacking

	fields  map[string][]int // probes that are inField, by lower-case field name
	names   []string         // of these fields, if all are ordinary and no probe is inText
	scanner *casemap.Scanner // for the other probes
	scanned []int            // which these are; those inText are the first
	inText  int              // how many of them
	crlf    bool             // one of them has a line end in it
	reader  message.TextReader

	field  []byte // room for header fields
	value  []byte // room for one of them
	folded []byte // room for its other form

	cached *mailbox.Cached // nil for what needs no more than the view
	// check ends the reading of a long message: the session's interrupted, or for
	// a helper what tells that nobody waits for it.
	check func() error

	// Of the message that is tested:
	m       mailbox.Message
	mf      *mailfile.File // nil until it is needed
	err     error
	answers []answer // of the probes
}

// searcher makes a query ready for the selected mailbox.
func (q *searchQuery) searcher(s *session) (*searcher, error) {
	if q.numbers && s.uidOnly {
		return nil, errUIDRequired()
	}
	for _, begin := range q.begin {
		if err := begin(s); err != nil {
			return nil, err
		}
	}
	return newSearcher(s, q.plan(s.sel.view, s.sel.saved)), nil
}

// newSearcher returns what tests messages by a plan. Close it.
func newSearcher(s *session, plan *searchPlan) *searcher {
	sr := &searcher{s: s, plan: plan, check: s.interrupted, answers: make([]answer, len(plan.probes)), fields: map[string][]int{}}
	var needles [][]byte
	for _, in := range []probePlace{inText, inBody} {
		for i, p := range plan.probes {
			if p.in == in {
				sr.scanned = append(sr.scanned, i)
				needles = append(needles, p.needle)
			}
		}
		if in == inText {
			sr.inText = len(needles)
		}
	}
	for i, p := range plan.probes {
		if p.in == inField {
			name := strings.ToLower(p.field)
			sr.fields[name] = append(sr.fields[name], i)
		}
	}
	sr.names = sr.ordinary()
	sr.scanner = casemap.NewScanner(needles)
	if plan.test.cost > costNothing {
		sr.cached = s.sel.view.Cached()
	}
	sr.crlf = slices.ContainsFunc(needles, func(n []byte) bool { return bytes.ContainsAny(n, "\r\n") })
	return sr
}

// ordinary gives the names of the fields if they are all that counts in a header
// and can be looked for by message.EachNamed.
func (sr *searcher) ordinary() []string {
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

func (sr *searcher) close() {
	if sr.cached != nil {
		sr.cached.Close()
	}
}

// matches tests a message, by what is cheap first. The file is opened once at
// most. What cannot be read does not match.
func (sr *searcher) matches(m mailbox.Message) bool {
	sr.m, sr.err = m, nil
	clear(sr.answers)
	result := sr.answer(&sr.plan.test, costNothing)
	for cost := costStat; cost < costs && result == isOpen && sr.err == nil; cost++ {
		if cost <= sr.plan.test.cost {
			sr.load(cost)
			result = sr.answer(&sr.plan.test, cost)
		}
	}
	if sr.mf != nil {
		sr.mf.Remember()
		sr.mf.Close()
		sr.mf = nil
	}
	if sr.err != nil {
		sr.s.lack(&sr.lacking, m, sr.err)
		return false
	}
	return result == isTrue
}

// answer gives the result of a test as far as it is known at this cost.
func (sr *searcher) answer(t *searchTest, cost searchCost) answer {
	switch t.op {
	case searchAnd:
		a := isTrue
		for i := range t.tests {
			if a = min(a, sr.answer(&t.tests[i], cost)); a == isFalse {
				break
			}
		}
		return a
	case searchOr:
		a := isFalse
		for i := range t.tests {
			if a = max(a, sr.answer(&t.tests[i], cost)); a == isTrue {
				break
			}
		}
		return a
	case searchNot:
		return -sr.answer(&t.tests[0], cost)
	case searchFlag:
		return answerOf(sr.m.Flags&t.flags != 0)
	case searchNotFlag:
		return answerOf(sr.m.Flags&t.flags == 0)
	case searchRecent:
		return answerOf(sr.m.Recent)
	case searchSeq:
		return answerOf(inRanges(t.ranges, sr.m.Seq))
	case searchUID:
		return answerOf(inRanges(t.ranges, sr.m.UID))
	case searchText:
		return sr.answers[t.probe]
	}
	if t.cost > cost || sr.err != nil {
		return isOpen
	}
	if t.op == searchOwn {
		yes, err := t.own.matches(sr)
		sr.failed(err)
		return answerOf(yes)
	}
	return answerOf(sr.measured(t))
}

// measured tests sizes and dates.
func (sr *searcher) measured(t *searchTest) bool {
	switch t.op {
	case searchLarger, searchSmaller:
		n, err := sr.s.sel.view.Size(sr.m, sr.check)
		sr.failed(err)
		if t.op == searchLarger {
			return n > t.n
		}
		return n < t.n
	case searchBefore, searchOn, searchSince:
		date, err := sr.s.sel.view.Date(sr.m)
		sr.failed(err)
		return isDay(t.op-searchBefore, dayOf(date), t.n)
	default:
		date, ok := sr.sentDate()
		return ok && isDay(t.op-searchSentBefore, dayOf(date), t.n)
	}
}

func (sr *searcher) failed(err error) {
	if sr.err == nil {
		sr.err = err
	}
}

// isDay compares days for a key that is 0 before, 1 on or 2 since a day.
func isDay(key searchOp, day, want int64) bool {
	switch key {
	case 0:
		return day < want
	case 1:
		return day == want
	}
	return day >= want
}

// sentDate returns the Date of the header, as it stands there: the zone does
// not count.
func (sr *searcher) sentDate() (time.Time, bool) {
	head, err := sr.mf.Header()
	sr.failed(err)
	text, ok := message.Field(head, "Date")
	if !ok {
		return time.Time{}, false
	}
	return message.ParseDate(text)
}

// load reads what answers of this cost need.
func (sr *searcher) load(cost searchCost) {
	switch cost {
	case costHeader:
		sr.scanner.Reset()
		rec, _ := sr.cached.Read(sr.m)
		sr.mf = mailfile.New(sr.s.sel.view, sr.m, nil, rec, sr.check)
		if rec.Has() == 0 && sr.plan.test.cost == costBody {
			sr.failed(sr.mf.Open(true)) // all at once
		}
		if sr.err == nil {
			sr.failed(sr.scanHeader())
		}
	case costBody:
		sr.failed(sr.scanBody())
		sr.noteFound(isFalse)
	}
}

// noteFound takes over what the scanner found, and otherwise for the rest.
func (sr *searcher) noteFound(otherwise answer) {
	for i, probe := range sr.scanned {
		sr.answers[probe] = otherwise
		if sr.scanner.Found(i) {
			sr.answers[probe] = isTrue
		}
	}
}

// scanHeader answers the probes that are inField, and looks for those inText.
func (sr *searcher) scanHeader() error {
	head, err := sr.mf.Header()
	if err != nil {
		return err
	}
	for i, p := range sr.plan.probes {
		if p.in == inField {
			sr.answers[i] = isFalse
		}
	}
	sr.scanFields(head, true)
	sr.noteFound(isOpen)
	return nil
}

// scanFields looks at the fields of a header, which is in CRLF form: for
// probes inText, and for those inField if it is the message's own.
func (sr *searcher) scanFields(head []byte, own bool) {
	own = own && len(sr.fields) > 0
	if !own && sr.inText == 0 {
		return
	}
	if sr.names != nil { // and nothing is inText
		message.EachNamed(head, sr.names, func(i int, value []byte) { sr.scanField(value, sr.fields[sr.names[i]]) })
		return
	}
	sr.field = sr.field[:0]
	message.EachEntry(head, func(name, value []byte) bool {
		if own && name != nil {
			var lower [maxFieldName]byte
			if len(name) <= len(lower) {
				if probes := sr.fields[string(appendLower(lower[:0], name))]; len(probes) > 0 {
					sr.scanField(value, probes)
				}
			}
		}
		if sr.inText > 0 {
			// All fields at once, with what no search string can hold between them.
			if name != nil {
				sr.field = append(append(sr.field, name...), ": "...)
			}
			sr.field = append(appendFieldText(sr.field, value, false), 0)
			if hasBlanks(value) { // the search string may be the one or the other
				sr.field = append(appendFieldText(sr.field, value, true), 0)
			}
		}
		return true
	})
	if sr.inText > 0 {
		sr.scanner.Line(sr.field, sr.inText)
	}
}

// scanField looks for probes in one field.
func (sr *searcher) scanField(value []byte, probes []int) {
	sr.value = appendFieldText(sr.value[:0], value, true)
	sr.folded = casemap.Append(sr.folded[:0], sr.value)
	people := false
	for _, i := range probes {
		if bytes.Contains(sr.folded, sr.plan.probes[i].needle) {
			sr.answers[i] = isTrue
		}
		people = people || sr.plan.probes[i].people && sr.answers[i] != isTrue
	}
	if !people || !oddlyWritten(value) {
		return
	}
	sr.folded = casemap.Append(sr.folded[:0], message.AppendAddresses(nil, value))
	for _, i := range probes {
		if p := &sr.plan.probes[i]; p.people && bytes.Contains(sr.folded, p.needle) {
			sr.answers[i] = isTrue
		}
	}
}

// oddlyWritten tells whether addresses may be written otherwise than ENVELOPE has
// them: with comments, quoted characters, or spaces in an address.
func oddlyWritten(value []byte) bool {
	return bytes.ContainsAny(value, "(\\") || bytes.Contains(value, []byte(" @")) || bytes.Contains(value, []byte("@ "))
}

// appendFieldText appends the value of a field on one line, without encoded
// words, and if wanted with one space for any white space.
func appendFieldText(dst, value []byte, oneSpace bool) []byte {
	from := len(dst)
	if value = bytes.TrimSpace(value); oneSpace {
		dst = appendOneSpaced(dst, value)
	} else {
		for _, c := range value {
			if c != '\r' && c != '\n' {
				dst = append(dst, c)
			}
		}
	}
	if line := dst[from:]; bytes.Contains(line, []byte("=?")) {
		return append(dst[:from], message.DecodeHeader(string(line))...)
	}
	return dst
}

// appendOneSpaced appends text with one space for any white space. Where a long field
// was folded (RFC 5322 section 2.2.3), and whether with a space or a tab, is not what
// people see of it and look for.
func appendOneSpaced(dst, text []byte) []byte {
	blank := false
	for _, c := range text {
		if c == '\r' || c == '\n' {
			continue
		}
		if c == '\t' {
			c = ' '
		}
		if c != ' ' || !blank {
			dst = append(dst, c)
		}
		blank = c == ' '
	}
	return dst
}

// hasBlanks tells whether appendOneSpaced changes more than line ends.
func hasBlanks(text []byte) bool {
	return bytes.IndexByte(text, '\t') >= 0 || bytes.Contains(text, []byte("  "))
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// scanBody looks through all parts for what was not found in the header.
func (sr *searcher) scanBody() error {
	if sr.scanner.Left() == 0 {
		return nil
	}
	root, err := sr.mf.Structure()
	if err != nil {
		return err
	}
	return sr.scanPart(root, true)
}

// scanPart looks at a part. Its header counts as text, and not as body (RFC
// 9051 section 6.4.4); that of the message itself was seen.
func (sr *searcher) scanPart(p *message.Part, root bool) error {
	if sr.scanner.Left() == 0 {
		return nil
	}
	if !root && sr.inText > 0 {
		head, err := sr.mf.PartHeader(p)
		if err != nil {
			return err
		}
		sr.scanFields(head, false)
	}
	for _, child := range p.Children {
		if err := sr.scanPart(child, false); err != nil {
			return err
		}
	}
	if len(p.Children) > 0 || !isText(p) {
		return nil
	}
	return sr.scanner.Scan(sr.reader.Text(sr.mf.Source(), p, sr.crlf))
}

// isText tells whether people read a part. Attachments of other types are not
// searched.
func isText(p *message.Part) bool {
	return strings.EqualFold(p.Type, "text") || strings.EqualFold(p.Type, "message")
}
