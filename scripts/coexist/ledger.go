package coexist

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ledger is what a perfect witness would know of a site: which messages were
// acknowledged by whom, in how many places each has to be, and which UID was
// ever shown for what. Safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	mail     map[string]*mail
	next     int
	uids     map[place]string  // what a UID stands for, a Message-ID
	validity map[string]uint32 // by folder
	wrong    []string
	counts   map[string]int
}

// mail is one Message-ID.
type mail struct {
	body    string
	count   int  // places in which it has to be
	either  int  // of these, so many may be gone, now or later
	unsure  bool // an operation on it ended without an answer
	claimed bool
	folders map[string]int // arrivals that were acknowledged, by folder
	history []string       // what was done with it
}

// note adds a line to the history of a message. l.mu of its ledger is held.
func (m *mail) note(format string, args ...any) {
	m.history = append(m.history, time.Now().Format(clock)+" "+fmt.Sprintf(format, args...))
}

// clock is how times are written in histories.
const clock = "15:04:05.000000"

// place is where a message was or is.
type place struct {
	folder string
	uid    uint32
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{mail: map[string]*mail{}, uids: map[place]string{}, validity: map[string]uint32{}, counts: map[string]int{}}
}

// NewMail invents a message that is nowhere yet, in LF form.
func (l *Ledger) NewMail(rng *rand.Rand, author string) (id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id = fmt.Sprintf("%s.%06d.x@coexist.test", author, l.next)
	body := fmt.Sprintf("body of %s\n%s", id, strings.Repeat("0123456789 and a line\n", rng.IntN(60)))
	l.mail[id] = &mail{body: body, folders: map[string]int{}}
	// Every Date is another second: mutt makes it a file's time.
	date := corpusEpoch.AddDate(1, 0, 0).Add(time.Duration(l.next) * time.Second).Format("Mon, 02 Jan 2006 15:04:05 -0700")
	return id, fmt.Sprintf("Message-ID: <%s>\nDate: %s\nFrom: %s@coexist.test\nSubject: mail %d\n\n%s", id, date, author, l.next, body)
}

// Arrived says that so many copies of a message came to be, in this folder.
func (l *Ledger) Arrived(id, folder string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.count += n
		m.folders[folder] += n
		m.note("%d more, in %s", n, folder)
	}
}

// Left says that so many copies are gone as somebody wanted.
func (l *Ledger) Left(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.count -= n
		m.note("%d less", n)
	}
}

// Either says that so many copies may be gone or not, and both are right: a
// server said that they are, and their files were there afterwards.
func (l *Ledger) Either(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.either += n
		m.note("%d may be gone or not", n)
	}
}

// Unsure says that nobody can tell whether an operation on a message happened.
func (l *Ledger) Unsure(id, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.unsure = true
		m.note("unsure: %s", why)
		l.counts["unsure: "+why]++
	}
}

// Claim reserves a message for one actor, which says what for: only it may copy,
// move or remove it until Release. Anyone may change its flags meanwhile.
func (l *Ledger) Claim(id, what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mail[id]
	if m == nil || m.claimed {
		return false
	}
	m.claimed = true
	m.note("%s", what)
	return true
}

// Release ends Claim.
func (l *Ledger) Release(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.mail[id].claimed = false
		l.mail[id].note("done")
	}
}

// Saw notes that a server showed a UID for a message.
func (l *Ledger) Saw(who, folder string, uid uint32, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := place{folder, uid}
	old, ok := l.uids[p]
	switch {
	case !ok:
		l.uids[p] = id
		if m := l.mail[id]; m != nil {
			m.note("%s shows it as UID %d of %s", who, uid, folder)
		}
	case old != id:
		l.fault("%s shows UID %d of %s for %q, it stood for %q", who, uid, folder, id, old)
	}
}

// Validity notes the UIDVALIDITY that a server shows.
func (l *Ledger) Validity(who, folder string, validity uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.validity[folder]
	if ok && old != validity {
		l.fault("%s shows UIDVALIDITY %d of %s, it was %d", who, validity, folder, old)
	}
	l.validity[folder] = validity
}

// Fault notes what must not happen.
func (l *Ledger) Fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault(format, args...)
}

func (l *Ledger) fault(format string, args ...any) {
	if len(l.wrong) < 50 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// Count counts an event for the report.
func (l *Ledger) Count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// CheckBody compares the text of a message, as a server gives it, with what was
// stored; both ends of lines are allowed.
func (l *Ledger) CheckBody(who, id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mail[id]
	if m == nil {
		l.fault("%s shows a message %q that nobody sent", who, id)
		return
	}
	_, body, ok := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	if !ok || body != m.body {
		l.fault("%s shows %q with another body: %.80q... of %d octets instead of %d", who, id, body, len(body), len(m.body))
	}
}

// Renumbered counts the messages that were shown under more UIDs than they came
// into a folder: each of them was taken for gone once and came back. A client
// downloads it again; nothing else is wrong with it.
func (l *Ledger) Renumbered() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := map[string]map[string]int{}
	for p, id := range l.uids {
		if shown[id] == nil {
			shown[id] = map[string]int{}
		}
		shown[id][p.folder]++
	}
	for id, folders := range shown {
		for folder, n := range folders {
			if m := l.mail[id]; m != nil && n > m.folders[folder] && !m.unsure {
				list = append(list, fmt.Sprintf("%s in %s: %d UIDs for %d arrivals", id, folder, n, m.folders[folder]))
			}
		}
	}
	slices.Sort(list)
	return list
}

// History tells what was done with a message.
func (l *Ledger) History(id string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mail[id].history)
}

// Named gives up to three messages that a text names.
func (l *Ledger) Named(text string) (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.mail {
		if strings.Contains(text, id) && len(ids) < 3 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Faults returns everything that was noted as wrong so far.
func (l *Ledger) Faults() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(l.wrong, "\n"))
}

// Counts returns the report's events, sorted.
func (l *Ledger) Counts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for what, n := range l.counts {
		lines = append(lines, fmt.Sprintf("%6d  %s", n, what))
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[8:], b[8:]) })
	return lines
}

// right says whether so many copies are as they have to be.
func (m *mail) right(n int) bool {
	return m.unsure || n <= m.count && n >= m.count-m.either
}

// Check compares a state with the ledger: every message is in as many places
// as it has to be, and no UID stands for another message than before.
func (l *Ledger) Check(who string, s State) (acknowledged, present int, err error) {
	found := map[string]int{}
	for folder, f := range s.Folders {
		l.Validity(who, folder, f.UIDValidity)
		for _, m := range f.Messages {
			l.Saw(who, folder, m.UID, m.ID)
			found[m.ID]++
			present++
		}
	}
	var wrong []string
	l.mu.Lock()
	for id, m := range l.mail {
		acknowledged += m.count
		if n := found[id]; !m.right(n) {
			wrong = append(wrong, fmt.Sprintf("%s has %q %d times, it has to be there %d times", who, id, n, m.count))
		}
	}
	for id := range found {
		if l.mail[id] == nil {
			wrong = append(wrong, fmt.Sprintf("%s has a message %q that nobody sent", who, id))
		}
	}
	l.mu.Unlock()
	slices.Sort(wrong)
	if len(wrong) > 0 {
		err = errors.New(strings.Join(wrong[:min(len(wrong), maxDifferences)], "\n"))
	}
	return acknowledged, present, errors.Join(err, l.Faults())
}
