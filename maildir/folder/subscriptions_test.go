package folder

import (
	"os"
	"path/filepath"
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

// TestSubscriptionsWithCRLF: an editor left CR LF at the ends of the lines.
func TestSubscriptionsWithCRLF(t *testing.T) {
	for name, c := range map[string]struct{ file, after string }{
		"version 1":   {"Sent\r\nA.B\r\nINBOX\r\n", "A.B\nINBOX\n"},
		"version 2":   {"V\t2\r\n\r\nSent\r\nA\tB\r\nINBOX\r\n", "V\t2\n\nA\tB\nINBOX\n"},
		"one CR LF":   {"Sent\nA.B\r\nINBOX\n", "A.B\nINBOX\n"},
		"no line end": {"INBOX\r\nA.B\r\nSent", "INBOX\nA.B\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			tree := openTree(t, root, Options{Layout: LayoutMaildirPP})
			place(t, root, ".Sent/cur", ".A.B/cur")
			path := filepath.Join(root, "subscriptions")
			must(t, os.WriteFile(path, []byte(c.file), 0o600))
			got, err := tree.Subscriptions()
			must(t, err)
			if slices.Sort(got); !slices.Equal(got, []string{"A/B", "INBOX", "Sent"}) {
				t.Errorf("subscribed to %q", got)
			}
			must(t, tree.SetSubscribed("Sent", false))
			if after, err := os.ReadFile(path); err != nil || string(after) != c.after {
				t.Errorf("the file is %q, %v; want %q", after, err, c.after)
			}
		})
	}
}
