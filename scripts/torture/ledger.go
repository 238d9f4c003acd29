package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"maildird/scripts/coexist"
)

// key identifies a message in a folder, which contains it at most once.
type key struct{ folder, id string }

// item is what a client knows about a message.
type item struct {
	key
	uid   uint32 // 0 if unknown
	flags string
	// Possible effects of an operation that has not been answered yet.
	unsure bool   // whether it exists is unknown
	other  string // flags that it may have instead; "-" means none
	twin   *item  // at least one of the two exists
	busy   bool   // an actor is working on it
}

// ledger is what all clients together know. It is safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	items    map[key]*item
	texts    map[string]string // by identity, as sent
	uids     map[string]map[uint32]string
	validity map[string]string
	done     map[string]int // acknowledged operations
	cut      map[string]int // operations without an answer
	next     int
	past     map[string][]string // history of each message, by identity
}

func newLedger() *ledger {
	return &ledger{items: map[key]*item{}, texts: map[string]string{}, uids: map[string]map[uint32]string{},
		validity: map[string]string{}, done: map[string]int{}, cut: map[string]int{}, past: map[string][]string{}}
}

// invent creates a message that is about to be stored in a folder.
func (l *ledger) invent(rng *rand.Rand, folder string) (*item, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id := fmt.Sprintf("k%05d@torture.test", l.next)
	size := rng.IntN(2000)
	if rng.IntN(8) == 0 {
		size = 100_000 // more than the program holds in memory
	}
	l.texts[id] = mailText(id, size)
	it := &item{key: key{folder, id}, unsure: true, other: "-", busy: true}
	l.items[it.key] = it
	return it, l.texts[id]
}

// claim reserves a message of a folder for an actor; nil if none is free.
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

// target notes that a copy of a message may be created; nil if one exists.
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

// arrived notes that a message was stored.
func (l *ledger) arrived(what string, it *item, uid uint32) {
	l.change(func() {
		it.unsure, it.busy, it.uid = false, false, uid
		l.done[what]++
		l.tell(it, "arrived by "+what)
	})
}

// left notes that a message was removed.
func (l *ledger) left(it *item) {
	l.change(func() {
		delete(l.items, it.key)
		l.tell(it, "left")
	})
}

// tell records an event for the report of a failure. The caller holds l.mu.
func (l *ledger) tell(it *item, what string) {
	l.past[it.id] = append(l.past[it.id], fmt.Sprintf("%s %s UID %d", what, it.folder, it.uid))
}

func (l *ledger) release(it *item) { l.change(func() { it.busy = false }) }

// crowded reports whether there is enough mail.
func (l *ledger) crowded(most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items) > most
}

// seen is a message as the program presents it.
type seen struct {
	uid   uint32
	flags string
	text  string
}

// compare compares the messages in a folder with the ledger, and then adapts
// the ledger to them.
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

// settle resolves all doubts after all folders have been compared.
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

// unanswered records an operation without an answer.
func (l *ledger) unanswered(what string) { l.change(func() { l.cut[what]++ }) }
