package search

import (
	"context"
	"fmt"
	"slices"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/casemap"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
)

// Op is what a Key asks.
type Op uint8

// What a key may ask.
const (
	And Op = iota // all of the keys; none of them is ALL
	Or
	Not
	AnyFlag // any of the flags
	NoFlag  // none of the flags
	Keyword
	Recent
	Seq
	UID
	Larger
	Smaller
	Before // these three in this order
	On
	Since
	SentBefore // and these
	SentOn
	SentSince
	Text
	Extension
)

// Program is what a SEARCH asks of messages, as the client wrote it.
type Program struct {
	Key    Key
	Probes []Probe // what its keys Text look for
}

// Key is a node of what SEARCH asks for.
type Key struct {
	Op        Op
	Keys      []Key          // And, Or, Not (one)
	Flags     filename.Flags // AnyFlag, NoFlag
	Word      string         // Keyword
	Set       syntax.NumSet  // Seq, UID
	N         int64          // Larger, Smaller: octets; date keys: days since 1970
	Probe     int            // Text: index in Program.Probes
	Extension *ExtensionKey  // Extension
}

// ExtensionKey is a key that an extension of the protocol brings.
type ExtensionKey struct {
	Name string
	Cost Cost
	// Matches tests a message. Several goroutines may call it at the same time.
	Matches func(*Candidate) (bool, error)
	// Fleeting says that the answer changes while nothing happens.
	Fleeting bool
}

// Candidate is a message that is tested.
type Candidate struct {
	Ctx     context.Context // of the search
	Message mailbox.Message
	View    *mailbox.View
	File    *mailfile.File // from CostHeader on, else nil
}

// Probe is a string to be found in the text of a message.
type Probe struct {
	In     Place
	Field  string // InField: its name
	People bool   // InField: as ENVELOPE has its addresses counts too
	Needle []byte // in the form of casemap.Append
}

// NewProbe is a probe for a text in UTF-8.
func NewProbe(in Place, field string, text []byte) Probe {
	if in == InField {
		text = appendOneSpaced(nil, text)
	}
	return Probe{In: in, Field: field, Needle: casemap.Append(nil, text)}
}

// Place is where a string is looked for.
type Place uint8

// The places.
const (
	InField Place = iota // of the header
	InBody
	InText // header and body
)

// Cost is what it costs to answer a key for one message.
type Cost uint8

// The costs, each with those before.
const (
	CostNothing Cost = iota // the view knows
	CostStat                // size, INTERNALDATE
	CostHeader              // the header has to be read
	CostBody                // the whole message has to be read
	costs
)

// DayOf numbers the days as the calendar has them in the zone of t.
func DayOf(t time.Time) int64 {
	const day = 24 * 60 * 60
	_, zone := t.Zone()
	here := t.Unix() + int64(zone)
	return (here - (here%day+day)%day) / day
}

// OfDay tells whether a time is before, on or since a day (see DayOf), as the op, one of
// the date keys, has it. The day is that of the zone of t.
func (op Op) OfDay(t time.Time, day int64) bool {
	switch is := DayOf(t); op {
	case Before, SentBefore:
		return is < day
	case On, SentOn:
		return is == day
	default:
		return is >= day
	}
}

// Fleeting tells whether the answer of a key changes while nothing happens.
func (k *Key) Fleeting() bool {
	if k.Extension != nil && k.Extension.Fleeting {
		return true
	}
	for i := range k.Keys {
		if k.Keys[i].Fleeting() {
			return true
		}
	}
	return false
}

// Frozen is a program that outlives its command: sequence numbers and "$", which
// stands for saved, have become the UIDs that they stand for.
func (p Program) Frozen(view *mailbox.View, saved []mailbox.Range) Program {
	p.Key = p.Key.frozen(view, saved)
	return p
}

func (k Key) frozen(view *mailbox.View, saved []mailbox.Range) Key {
	k.Keys = slices.Clone(k.Keys)
	for i := range k.Keys {
		k.Keys[i] = k.Keys[i].frozen(view, saved)
	}
	switch {
	case k.Set.Saved:
		k.Op, k.Set = UID, syntax.NumSet{Ranges: slices.Clone(saved)}
	case k.Op == Seq:
		k.Op, k.Set = UID, syntax.NumSet{Ranges: uidRanges(view, k.Set)}
	case k.Op == UID:
		k.Set.Ranges = slices.Clone(k.Set.Ranges)
	}
	return k
}

// uidRanges turns sequence numbers into UIDs. UIDs between those of two
// neighbours belong to no message and never will.
func uidRanges(view *mailbox.View, set syntax.NumSet) []mailbox.Range {
	exists := view.Exists()
	var out []mailbox.Range
	for _, r := range set.Resolve(exists) {
		if r.First = max(r.First, 1); r.First <= exists {
			out = append(out, mailbox.Range{First: view.UID(r.First), Last: view.UID(min(r.Last, exists))})
		}
	}
	return out
}

// UsesLast tells whether "*" is in a set of UIDs.
func (k *Key) UsesLast() bool {
	for _, r := range k.Set.Ranges {
		if r.First == 0 || r.Last == 0 {
			return true
		}
	}
	for i := range k.Keys {
		if k.Keys[i].UsesLast() {
			return true
		}
	}
	return false
}

// UsesSaved tells whether "$" is in a search.
func (k *Key) UsesSaved() bool {
	if k.Set.Saved {
		return true
	}
	for i := range k.Keys {
		if k.Keys[i].UsesSaved() {
			return true
		}
	}
	return false
}

// String gives the key in prefix form, for tests and logs. It has no text that
// the client looks for.
func (k Key) String() string {
	switch k.Op {
	case And, Or, Not:
		return fmt.Sprint([...]string{"and", "or", "not"}[k.Op], k.Keys)
	case AnyFlag:
		return fmt.Sprintf("flag:%x", uint32(k.Flags))
	case NoFlag:
		return fmt.Sprintf("notflag:%x", uint32(k.Flags))
	case Keyword:
		return "keyword:" + k.Word
	case Recent:
		return "recent"
	case Seq, UID:
		return fmt.Sprint([...]string{"seq", "uid"}[k.Op-Seq], k.Set.Ranges)
	case Text:
		return fmt.Sprintf("text:%d", k.Probe)
	case Extension:
		return k.Extension.Name
	}
	return fmt.Sprintf("%d:%d", k.Op, k.N)
}
