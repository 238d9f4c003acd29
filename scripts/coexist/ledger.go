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

// Ledger is what a perfect witness would know about a site: which messages were
// acknowledged by whom, how many copies of each must exist, and what each UID ever stood
// for. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	mail     map[string]*mail
	next     int
	uids     map[place]string  // Message-ID that a UID stands for
	validity map[string]uint32 // by folder
	wrong    []string
	counts   map[string]int
}

// mail is a message, identified by its Message-ID.
type mail struct {
	body    string
	count   int  // copies that must exist
	either  int  // this many of these may be gone, now or later
	unsure  bool // an operation on it ended without a response
	claimed bool
	folders map[string]int // acknowledged arrivals, by folder
	history []string       // what was done with it
}

// note adds a line to the history of a message. The mutex of its ledger must be held.
func (m *mail) note(format string, args ...any) {
	m.history = append(m.history, time.Now().Format(clock)+" "+fmt.Sprintf(format, args...))
}

// clock is the format of times in histories.
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

// NewMail invents a message that does not exist anywhere yet, with LF line ends.
func (l *Ledger) NewMail(rng *rand.Rand, author string) (id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id = fmt.Sprintf("%s.%06d.x@coexist.test", author, l.next)
	body := fmt.Sprintf("body of %s\n%s", id, strings.Repeat("0123456789 and a line\n", rng.IntN(60)))
	l.mail[id] = &mail{body: body, folders: map[string]int{}}
	// Every Date differs by a second, because mutt uses it as the time of the file.
	date := corpusEpoch.AddDate(1, 0, 0).Add(time.Duration(l.next) * time.Second).Format("Mon, 02 Jan 2006 15:04:05 -0700")
	return id, fmt.Sprintf("Message-ID: <%s>\nDate: %s\nFrom: %s@coexist.test\nSubject: mail %d\n\n%s", id, date, author, l.next, body)
}

// Arrived records that n copies of a message were created in a folder.
func (l *Ledger) Arrived(id, folder string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.count += n
		m.folders[folder] += n
		m.note("%d more, in %s", n, folder)
	}
}

// Left records that n copies were intentionally removed.
func (l *Ledger) Left(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.count -= n
		m.note("%d less", n)
	}
}

// Either records that n copies may or may not exist: a server reported them as gone, but
// their files existed afterwards.
func (l *Ledger) Either(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.either += n
		m.note("%d may be gone or not", n)
	}
}

// Unsure records that it is unknown whether an operation on a message happened.
func (l *Ledger) Unsure(id, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mail[id]; m != nil {
		m.unsure = true
		m.note("unsure: %s", why)
		l.counts["unsure: "+why]++
	}
}

// Claim reserves a message for an actor, for a purpose: until Release, only that actor may
// copy, move or remove it. Others may still change its flags.
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

// Saw records that a server showed a UID for a message.
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

// Validity records the UIDVALIDITY that a server shows.
func (l *Ledger) Validity(who, folder string, validity uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.validity[folder]
	if ok && old != validity {
		l.fault("%s shows UIDVALIDITY %d of %s, it was %d", who, validity, folder, old)
	}
	l.validity[folder] = validity
}

// Fault records something that must not happen.
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

// CheckBody compares the text of a message from a server with what was stored. Both forms of
// line ends are accepted.
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

// Renumbered returns the messages that were shown under more UIDs than they arrived in a
// folder: each was taken for gone once and then came back. A client downloads it again, but
// nothing else is wrong.
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

// History returns what was done with a message.
func (l *Ledger) History(id string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mail[id].history)
}

// Named returns up to three messages whose IDs occur in a text.
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

// Faults returns all faults recorded so far as an error.
func (l *Ledger) Faults() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(l.wrong, "\n"))
}

// Counts returns the events of the report, sorted.
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

// right reports whether n copies are as many as there must be.
func (m *mail) right(n int) bool {
	return m.unsure || n <= m.count && n >= m.count-m.either
}

// Check compares a state with the ledger: every message must have the right number of copies,
// and no UID may stand for another message than before.
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
