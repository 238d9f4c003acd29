package folder

import (
	"slices"
	"testing"
)

// TestSubscribeInbox: INBOX has no levels, and its line is the bare word in
// every layout.
func TestSubscribeInbox(t *testing.T) {
	for name, opt := range allOptions {
		t.Run(name, func(t *testing.T) {
			tree, _ := testTree(t, opt)
			for _, spelling := range []string{"INBOX", "inbox"} {
				must(t, tree.SetSubscribed(spelling, true))
			}
			got, err := tree.Subscriptions()
			must(t, err)
			if want := []string{"INBOX"}; !slices.Equal(got, want) {
				t.Errorf("subscribed to %q, want %q", got, want)
			}
			must(t, tree.SetSubscribed("Inbox", false))
			if got, err = tree.Subscriptions(); err != nil || len(got) > 0 {
				t.Errorf("still subscribed to %q, %v", got, err)
			}
		})
	}
}
