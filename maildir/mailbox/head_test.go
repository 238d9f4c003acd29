package mailbox

import (
	"testing"

	"maildird/maildir/uidlist"
)

// TestListHead: a list that is lost, or older, takes back nothing that a client was told.
func TestListHead(t *testing.T) {
	var h listHead
	if h.last() != 0 {
		t.Errorf("a UID was assigned: %d", h.last())
	}
	for i, step := range []struct {
		now         uidlist.Header
		contradicts bool
		want        listHead
	}{
		{now: uidlist.Header{}, want: listHead{}},
		{now: uidlist.Header{UIDValidity: 7, NextUID: 10, GUID: "a"}, want: listHead{7, "a", 10}},
		{now: uidlist.Header{}, want: listHead{7, "", 10}}, // lost
		{now: uidlist.Header{UIDValidity: 7, NextUID: 5, GUID: "a"}, want: listHead{7, "a", 10}},
		{now: uidlist.Header{UIDValidity: 8, NextUID: 5, GUID: "a"}, contradicts: true, want: listHead{7, "a", 10}},
		{now: uidlist.Header{UIDValidity: 7, NextUID: 12, GUID: "b"}, want: listHead{7, "b", 12}},
	} {
		if got := h.contradicts(step.now); got != step.contradicts {
			t.Errorf("step %d: contradicts %v", i, got)
		}
		if !step.contradicts {
			h.take(step.now)
		}
		if h != step.want {
			t.Errorf("step %d: %+v, want %+v", i, h, step.want)
		}
	}
	if h.raise(11); h.last() != 11 {
		t.Errorf("the last UID is %d", h.last())
	}
}
