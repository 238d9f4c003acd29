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

// Op is the kind of a Key.
type Op uint8

// The kinds of keys.
const (
	And Op = iota // all of Keys; without any it is ALL
	Or
	Not
	AnyFlag // has any of Flags
	NoFlag  // has none of Flags
	Keyword
	Recent
	Seq
	UID
	Larger
	Smaller
	Before // INTERNALDATE; these three in this order
	On
	Since
	SentBefore // the Date field; in the same order
	SentOn
	SentSince
	Text
	Extension
)

// Program is a search as the client wrote it.
type Program struct {
	Key    Key
	Probes []Probe // of its keys with Op Text
}

// Key is a node of a search.
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

// ExtensionKey is a key of a protocol extension.
type ExtensionKey struct {
	Name string
	Cost Cost
	// Matches tests a message. It may be called by several goroutines at the same time.
	Matches func(*Candidate) (bool, error)
	// Fleeting: the result changes with time alone.
	Fleeting bool
}

// Candidate is a message to be tested.
type Candidate struct {
	Ctx     context.Context // of the search
	Message mailbox.Message
	View    *mailbox.View
	File    *mailfile.File // nil for keys below CostHeader
}

// Probe is a string to be found in the text of a message.
type Probe struct {
	In     Place
	Field  string // InField: the field name
	People bool   // InField: also match the addresses as ENVELOPE has them
	Needle []byte // in the form of casemap.Append
}

// NewProbe returns a probe for a text in UTF-8.
func NewProbe(in Place, field string, text []byte) Probe {
	if in == InField {
		text = appendOneSpaced(nil, text)
	}
	return Probe{In: in, Field: field, Needle: casemap.Append(nil, text)}
}

// Place is the part of a message that is searched.
type Place uint8

// The parts of a message.
const (
	InField Place = iota // of the header
	InBody
	InText // header and body
)

// Cost is the cost of testing a key against a message.
type Cost uint8

// Each cost includes those before it.
const (
	CostNothing Cost = iota // the view knows the result
	CostStat                // size, INTERNALDATE
	CostHeader              // the header must be read
	CostBody                // the whole message must be read
	costs
)

// DayOf returns the number of days from 1970-01-01 to the date of t in the zone of t.
func DayOf(t time.Time) int64 {
	const day = 24 * 60 * 60
	_, zone := t.Zone()
	here := t.Unix() + int64(zone)
	return (here - (here%day+day)%day) / day
}

// OfDay reports whether t is before, on or since a day (see DayOf), depending on op, which must
// be a date key. The date of t is that in the zone of t.
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

// Fleeting reports whether the result of a key changes with time alone.
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

// Frozen returns a program that remains valid after its command: sequence numbers, and "$",
// which stands for saved, are replaced by UIDs.
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

// uidRanges converts sequence numbers to UIDs. The UIDs between those of adjacent messages
// belong to no message and never will.
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

// UsesLast reports whether a set of UIDs contains "*".
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

// UsesSaved reports whether the search contains "$".
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

// String returns the key in prefix form, for tests and logs. It does not contain the text that
// the client searches for.
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
