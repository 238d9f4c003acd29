package mailbox

import (
	"fmt"
	"slices"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// TestModseqs: what differs from the history, after the history had UIDs 1 to 4 of messages
// without flags, of which UID 3 was removed.
func TestModseqs(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *modseqs, flag func(n uint32, f filename.Flags, shown bool))
		last uint32   // assigned; 0: 4
		want []string // changed UIDs with their flags, then runs of UIDs that are gone
	}{
		"nothing": {do: func(*modseqs, func(uint32, filename.Flags, bool)) {}},
		"a flag": {
			do:   func(_ *modseqs, flag func(uint32, filename.Flags, bool)) { flag(1, filename.Seen, false) },
			want: []string{"2 S"},
		},
		"a flag and back": {
			do: func(_ *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Seen, false)
				flag(1, 0, false)
			},
		},
		"a flag and back that a client saw": {
			do: func(_ *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Seen, true)
				flag(1, 0, false)
			},
			want: []string{"2 "},
		},
		"a flag and back that all clients were about to see": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Seen, false)
				s.showAll()
				flag(1, 0, false)
			},
			want: []string{"2 "},
		},
		"a flag and back that a client was about to see": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Seen, false)
				s.show([]Message{{row: 1, ModSeq: 100, Flags: filename.Seen}})
				flag(1, 0, false)
			},
			want: []string{"2 "},
		},
		"a flag and back while a client was about to see it": {
			do: func(s *modseqs, _ func(uint32, filename.Flags, bool)) {
				s.show([]Message{{row: 1, ModSeq: 100, Flags: filename.Seen}})
			},
			want: []string{"2 "},
		},
		"shown as they are, or were at another mod-sequence": {
			do: func(s *modseqs, _ func(uint32, filename.Flags, bool)) {
				s.show([]Message{{row: 0, ModSeq: 100}, {row: 1, ModSeq: 99, Flags: filename.Seen}})
			},
		},
		"seen, with a letter for another keyword, but gone": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(2, filename.Keyword(0), false)
				s.settled([]uint32{2}, 100)
				s.show([]Message{{row: 2, ModSeq: 100}})
				s.lettersChanged(filename.Keyword(0))
			},
		},
		"a letter that stands for another keyword": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Keyword(0), false)
				s.settled([]uint32{1}, 100)
				s.lettersChanged(filename.Keyword(0))
			},
			want: []string{"2 a"},
		},
		"a letter that stood for another keyword and comes back": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Keyword(0), false)
				s.settled([]uint32{1}, 100)
				flag(1, 0, false)
				s.lettersChanged(filename.Keyword(0))
				flag(1, filename.Keyword(0), false)
			},
			want: []string{"2 a"},
		},
		"another process made it": {
			do: func(s *modseqs, flag func(uint32, filename.Flags, bool)) {
				flag(1, filename.Seen, false)
				if !s.took(1, filename.Seen) {
					panic("it has other flags")
				}
			},
		},
		"another process made another": {
			do: func(s *modseqs, _ func(uint32, filename.Flags, bool)) {
				if s.took(1, filename.Seen) {
					panic("it has the flags")
				}
			},
			want: []string{"2 "},
		},
		"UIDs of which nobody saw a message": {
			do: func(*modseqs, func(uint32, filename.Flags, bool)) {}, last: 6,
			want: []string{"5-6"},
		},
		"messages that the table never had": {
			do: func(s *modseqs, _ func(uint32, filename.Flags, bool)) {
				s.strays[7], s.strays[8], s.strays[9] = struct{}{}, struct{}{}, struct{}{}
				s.forgetStrays(history.Run{First: 8, Last: 8})
			},
			want: []string{"7-7", "9-9"},
		},
		"a history that starts anew": {
			do:   func(s *modseqs, _ func(uint32, filename.Flags, bool)) { s.lost() },
			want: []string{"1 ", "2 ", "4 "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tab := table.New()
			s := newModseqs(tab)
			flag := func(n uint32, f filename.Flags, shown bool) {
				before := tab.Row(n).Flags
				tab.SetName(n, table.InCur, filename.WithFlags(string(tab.Base(n)), f))
				s.flagsChanged(n, before, shown)
			}
			for uid := range uint32(4) {
				n, _, _ := tab.Add(uid+1, fmt.Sprint("a", uid))
				flag(n, 0, false)
				tab.SetState(n, table.Present)
			}
			tab.SetState(2, table.Expunged)
			s.settled([]uint32{0, 1, 3}, 100)
			s.begun, s.accounted = true, 4
			c.do(&s, flag)
			changed, gone, rows := s.differences(max(c.last, 4))
			var got []string
			for _, state := range changed {
				got = append(got, fmt.Sprint(state.UID, " ", filename.WithFlags("", state.Flags)[len(":2,"):]))
			}
			for _, run := range gone {
				got = append(got, fmt.Sprintf("%d-%d", run.First, run.Last))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("differences %q, want %q", got, c.want)
			}
			s.settled(rows, 200)
			s.accounted = 9
			if changed, gone, rows := s.differences(9); len(changed)+len(gone)+len(rows) > 0 {
				t.Errorf("after settling: %v, %v", changed, gone)
			}
			for n := range tab.Len() {
				if tab.Row(n).Unsettled {
					t.Errorf("row %d is unsettled", n)
				}
			}
		})
	}
}
