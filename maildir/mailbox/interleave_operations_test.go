package mailbox

import (
	"errors"
	"maps"
	"slices"

	"maildird/maildir/filename"
)

// operation is an operation of a session. Others act between its system calls.
type operation struct {
	name  string
	on    []string         // the messages that it concerns
	shut  bool             // the mailbox is not open
	opens bool             // it opens the mailbox
	ready func(r *meeting) // what happens just before it
	do    func(r *meeting) error
}

var operations = []operation{
	{name: "open", on: []string{"two", "fresh"}, shut: true, opens: true, do: (*meeting).begin},
	{name: "poll", on: []string{"two", "spare"}, ready: changed, do: func(r *meeting) error {
		_, err := r.some[0].poll()
		return err
	}},
	{name: "see a message again", on: []string{"two"}, ready: (*meeting).awayAndBack, do: func(r *meeting) error {
		_, err := r.some[0].poll()
		return err
	}},
	{name: "select again", on: []string{"late"}, ready: changed, do: func(r *meeting) error {
		s, err := r.connect(r.m, r.a, false)
		if err == nil {
			r.some = append(r.some, s)
		}
		return err
	}},
	{name: "store one", on: []string{"two"}, do: func(r *meeting) error { return r.store(always, Add, filename.Flagged, nil, "two") }},
	{name: "store some", on: []string{"one", "fresh"}, do: func(r *meeting) error {
		return r.store(always, Add, filename.Flagged, nil, "one", "two", "word", "spare", "fresh")
	}},
	{name: "store instead", on: []string{"one"}, do: func(r *meeting) error {
		r.reset["one"] = true
		return r.store(always, Set, filename.Flagged, []string{"word"}, "one")
	}},
	{name: "store a new keyword", on: []string{"two"}, do: func(r *meeting) error {
		return r.store(always, Add, 0, []string{"mine"}, "two", "one")
	}},
	{name: "store unless changed", on: []string{"two"}, do: func(r *meeting) error {
		return r.store(r.some[1].upTo, Add, filename.Flagged, nil, "two", "one")
	}},
	{name: "expunge", on: []string{"doom"}, do: func(r *meeting) error {
		removed, err := r.some[0].v.Expunge(ctx, nil)
		r.took("doom", removed)
		return err
	}},
	{name: "remove", on: []string{"fresh", "two"}, do: func(r *meeting) error {
		texts := []string{"two", "fresh"}
		removed, err := r.some[0].v.Remove(ctx, r.some[0].uidsOf(texts...)...)
		for _, text := range texts {
			r.took(text, removed)
		}
		return err
	}},
	{name: "append", do: func(r *meeting) error { return r.append(0, "appended") }},
	{name: "append some", do: func(r *meeting) error { return r.append(filename.Seen, "appended", "appended too") }},
	{name: "copy", on: []string{"one", "fresh"}, do: func(r *meeting) error { return r.copy(false, "one", "fresh") }},
	{name: "copy here", on: []string{"two"}, do: func(r *meeting) error {
		s := r.some[0]
		c, err := s.v.Copy(ctx, s.uidsOf("two", "one"), r.m)
		for i, uid := range c.Source {
			r.tell(r.a, c.Dest[i], r.a.told[uid])
		}
		return err
	}},
	{name: "move", on: []string{"one", "fresh"}, do: func(r *meeting) error { return r.copy(true, "one", "fresh") }},
	{name: "read", on: []string{"one", "two"}, do: func(r *meeting) error {
		s := r.some[0]
		var failed error
		for _, m := range s.all() {
			want := r.a.told[m.UID]
			f, err := openText(s.v, m)
			if err == nil {
				_ = f.Close()
				_, err = s.v.Size(m, func() error { return nil })
			}
			if err == nil {
				_, err = s.v.Date(m)
			}
			if err != nil && !(errors.Is(err, ErrGone) && r.mayMiss(want)) {
				failed = errors.Join(failed, err)
			}
		}
		return failed
	}},
	{name: "status", on: []string{"two"}, ready: changed, do: func(r *meeting) error {
		_, err := r.m.Status(ctx, true, func() error { return nil })
		return err
	}},
	{name: "close and open", on: []string{"two", "one"}, opens: true, do: func(r *meeting) error {
		for _, s := range r.some {
			s.v.Close()
		}
		r.some = nil
		r.m.Close()
		r.m = nil
		return r.begin()
	}},
}

// changed makes the changes of others since the last look.
func changed(r *meeting) {
	r.flag("one", filename.Answered, 0)
	r.deliver("new/1700000010.M1P1.x", "late")
	r.deliver("cur/1700000011.M1P1.x:2,F", "later")
	r.removed(r.a.find("doom"), "doom")
}

// awayAndBack makes a message disappear, tells everybody, and brings it back.
func (r *meeting) awayAndBack() {
	back := r.away("two")
	for _, s := range r.some {
		if _, err := s.poll(); err != nil {
			r.fault("Poll: %v", err)
		}
	}
	back()
}

func (r *meeting) store(since uint64, op Op, flags filename.Flags, words []string, texts ...string) error {
	s := r.some[0]
	done, modified, err := s.v.StoreUnchangedSince(ctx, since, s.uidsOf(texts...), op, flags, words)
	for _, m := range done {
		s.flags[m.UID] = m.Flags
		text := r.a.told[m.UID]
		r.flagged[text] |= flags
		if m.Flags&flags != flags && !r.reset[text] {
			r.fault("stored flags %b of %q, which are said to be %b", flags, text, m.Flags)
		}
	}
	for _, m := range modified {
		s.flags[m.UID] = m.Flags
	}
	return err
}

// took records which messages the operation removed.
func (r *meeting) took(text string, removed []uint32) {
	for _, uid := range removed {
		if r.a.told[uid] != text {
			continue
		}
		r.gone[text] = true
		r.overtaken(text)
		r.later = append(r.later, func() {
			if rel := r.a.find(text); rel != "" && !r.reset[text] && !r.other[text] {
				r.fault("%q was removed and is %s", text, rel)
			}
		})
	}
}

func (r *meeting) append(flags filename.Flags, texts ...string) error {
	uids, err := appendTo(r.m, flags, texts...)
	for i, uid := range uids {
		r.tell(r.a, uid, texts[i])
		r.owed[texts[i]] = r.a
	}
	if err != nil {
		for _, text := range texts {
			if rel := r.a.find(text); rel != "" {
				r.fault("%q was not acknowledged and is %s", text, rel)
			}
		}
	}
	return err
}

func (r *meeting) copy(move bool, texts ...string) error {
	s := r.some[0]
	how := s.v.Copy
	if move {
		how = s.v.Move
	}
	told := maps.Clone(r.a.told) // others may put another message in its place meanwhile
	c, err := how(ctx, s.uidsOf(texts...), r.dst)
	var copied []string
	for i, uid := range c.Source {
		text := told[uid]
		copied = append(copied, text)
		if move {
			r.overtaken(text)
		}
		if swapped := r.b.find(text); swapped == "" && r.mayMiss(text) {
			continue // another program put another message in its place
		}
		r.tell(r.b, c.Dest[i], text)
		r.later = append(r.later, func() {
			if slices.Contains(r.alike, text) {
				return
			}
			if r.b.find(text) == "" && r.owed[text] == r.b {
				r.fault("the copy of %q is lost", text)
			}
			if rel := r.a.find(text); move && rel != "" && !r.reset[text] && !r.other[text] {
				r.fault("%q was moved and is %s", text, rel)
			}
		})
		if move {
			r.owed[text] = r.b
		}
	}
	for _, text := range texts {
		if rel := r.b.find(text); rel != "" && !slices.Contains(copied, text) && r.owed[text] != r.b {
			r.fault("%q was not acknowledged and is %s of the other folder", text, rel)
		}
	}
	return err
}

// overtaken records that a message is gone because another program gave it the name of one
// that was about to be removed.
func (r *meeting) overtaken(text string) {
	for now, was := range r.became {
		r.gone[now] = r.gone[now] || was == text
	}
}

// mayMiss reports whether a message may be missing.
func (r *meeting) mayMiss(text string) bool {
	return r.gone[text] || r.owed[text] != r.a || r.other[text]
}
