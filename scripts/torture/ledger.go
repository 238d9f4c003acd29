package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"maildird/scripts/coexist"
)

// key is a message in a folder, where it is once at most.
type key struct{ folder, id string }

// item is what a client knows of a message.
type item struct {
	key
	uid   uint32 // 0: not known
	flags string
	// What an operation without an answer yet may have done.
	unsure bool   // it may be there or not
	other  string // it may have these flags instead; "-": no
	twin   *item  // one of both is there at least
	busy   bool   // an actor works on it
}

// ledger is what all clients together know. Safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	items    map[key]*item
	texts    map[string]string // by identity, as sent
	uids     map[string]map[uint32]string
	validity map[string]string
	done     map[string]int // acknowledged operations
	cut      map[string]int // those without an answer
	next     int
	past     map[string][]string // what happened to a message, by identity
}

func newLedger() *ledger {
	return &ledger{items: map[key]*item{}, texts: map[string]string{}, uids: map[string]map[uint32]string{},
		validity: map[string]string{}, done: map[string]int{}, cut: map[string]int{}, past: map[string][]string{}}
}

// invent makes a message that is on its way into a folder.
func (l *ledger) invent(rng *rand.Rand, folder string) (*item, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id := fmt.Sprintf("k%05d@torture.test", l.next)
	size := rng.IntN(2000)
	if rng.IntN(8) == 0 {
		size = 100_000 // more than is held in memory
	}
	l.texts[id] = mailText(id, size)
	it := &item{key: key{folder, id}, unsure: true, other: "-", busy: true}
	l.items[it.key] = it
	return it, l.texts[id]
}

// claim takes a message of a folder for one actor.
func (l *ledger) claim(rng *rand.Rand, folder string) *item {
	l.mu.Lock()
	defer l.mu.Unlock()
	var free []*item
	for _, it := range l.items {
		if it.folder == folder && !it.busy && it.uid != 0 {
			free = append(free, it)
		}
	}
	if len(free) == 0 {
		return nil
	}
	slices.SortFunc(free, func(a, b *item) int { return int(a.uid) - int(b.uid) })
	it := free[rng.IntN(len(free))]
	it.busy = true
	return it
}

// target notes that a copy of a message may come to be; nil if there is one.
func (l *ledger) target(it *item, folder string) *item {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{folder, it.id}
	if l.items[k] != nil {
		return nil
	}
	to := &item{key: k, flags: it.flags, unsure: true, other: "-", busy: true}
	l.items[k] = to
	return to
}

func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// arrived says that a message is where it was to go.
func (l *ledger) arrived(what string, it *item, uid uint32) {
	l.change(func() {
		it.unsure, it.busy, it.uid = false, false, uid
		l.done[what]++
		l.tell(it, "arrived by "+what)
	})
}

// left says that a message was taken away.
func (l *ledger) left(it *item) {
	l.change(func() {
		delete(l.items, it.key)
		l.tell(it, "left")
	})
}

// tell keeps what happened for the report of a failure. l.mu is held.
func (l *ledger) tell(it *item, what string) {
	l.past[it.id] = append(l.past[it.id], fmt.Sprintf("%s %s UID %d", what, it.folder, it.uid))
}

func (l *ledger) release(it *item) { l.change(func() { it.busy = false }) }

// crowded tells whether there is so much mail that there need not be more.
func (l *ledger) crowded(most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items) > most
}

// seen is a message as the program shows it.
type seen struct {
	uid   uint32
	flags string
	text  string
}

// compare compares what is there with what is known, which it is made equal to.
func (l *ledger) compare(folder, validity string, all []seen) (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add := func(format string, args ...any) { wrong = append(wrong, folder+": "+fmt.Sprintf(format, args...)) }
	if old := l.validity[folder]; old != "" && old != validity {
		add("UIDVALIDITY was %s and is %s", old, validity)
	}
	l.validity[folder] = validity
	if l.uids[folder] == nil {
		l.uids[folder] = map[uint32]string{}
	}
	there := map[string]bool{}
	for _, s := range all {
		text := strings.ReplaceAll(s.text, "\r\n", "\n")
		id := coexist.MessageID(text)
		if sent, ok := l.texts[id]; !ok || !strings.HasSuffix(text, sent) {
			add("UID %d is not what was sent: %d octets, %.200q", s.uid, len(s.text), s.text)
			continue
		}
		if owner, ok := l.uids[folder][s.uid]; ok && owner != id {
			add("UID %d stood for %s and stands for %s", s.uid, owner, id)
		}
		l.uids[folder][s.uid] = id
		it := l.items[key{folder, id}]
		switch {
		case it == nil:
			add("%s (UID %d) is there and has to be gone", id, s.uid)
		case there[id]:
			add("%s is there twice (UID %d)", id, s.uid)
		case it.uid != 0 && it.uid != s.uid:
			add("%s had UID %d and has %d", id, it.uid, s.uid)
		case s.flags != it.flags && s.flags != it.other:
			add("%s has the flags %q, has to have %q or %q", id, s.flags, it.flags, it.other)
		default:
			it.uid, it.flags = s.uid, s.flags
			l.tell(it, "found in")
		}
		there[id] = true
	}
	for k, it := range l.items {
		if k.folder == folder && !there[k.id] {
			if !it.unsure {
				add("%s (UID %d) is lost; it %s", k.id, it.uid, strings.Join(l.past[k.id], ", "))
			}
			it.uid = 0
		}
	}
	return wrong
}

// settle ends all doubts after all folders were compared.
func (l *ledger) settle() (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		if it.twin != nil && it.uid == 0 && it.twin.uid == 0 {
			wrong = append(wrong, it.id+" was on its way from "+it.folder+" to another folder and is in neither")
		}
	}
	for k, it := range l.items {
		if it.uid == 0 {
			delete(l.items, k)
		}
		it.unsure, it.other, it.twin, it.busy = false, "-", nil, false
	}
	return wrong
}

// unanswered notes an operation without an answer.
func (l *ledger) unanswered(what string) { l.change(func() { l.cut[what]++ }) }
