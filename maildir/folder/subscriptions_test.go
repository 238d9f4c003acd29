package folder

import (
	"bytes"
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
				must(t, tree.SetSubscribed(t.Context(), spelling, true))
			}
			got, err := tree.Subscriptions()
			must(t, err)
			if want := []string{"INBOX"}; !slices.Equal(got, want) {
				t.Errorf("subscribed to %q, want %q", got, want)
			}
			must(t, tree.SetSubscribed(t.Context(), "Inbox", false))
			if got, err = tree.Subscriptions(); err != nil || len(got) > 0 {
				t.Errorf("still subscribed to %q, %v", got, err)
			}
		})
	}
}

// TestSubscriptionsWithCRLF: an editor left CR LF at the ends of the lines.
func TestSubscriptionsWithCRLF(t *testing.T) {
	for name, c := range map[string]struct{ file, after string }{
		"version 1":     {"Sent\r\nA.B\r\nINBOX\r\n", "A.B\nINBOX\n"},
		"version 2":     {"V\t2\r\n\r\nSent\r\nA\tB\r\nINBOX\r\n", "V\t2\n\nA\tB\nINBOX\n"},
		"one CR LF":     {"Sent\nA.B\r\nINBOX\n", "A.B\nINBOX\n"},
		"CR at the end": {"Sent\r\nA.B\r\nINBOX\r", "A.B\nINBOX\n"},
		"CR CR LF":      {"Sent\r\r\nA.B\nINBOX\n", "A.B\nINBOX\n"},
		"no line end":   {"INBOX\r\nA.B\r\nSent", "INBOX\nA.B\n"},
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
			must(t, tree.SetSubscribed(t.Context(), "Sent", false))
			if after, err := os.ReadFile(path); err != nil || string(after) != c.after {
				t.Errorf("the file is %q, %v; want %q", after, err, c.after)
			}
		})
	}
}

// FuzzSubscriptions reads any file. A name that is subscribed, and one that is not any
// more, changes nothing else, whatever stands there.
func FuzzSubscriptions(f *testing.F) {
	for _, s := range []string{
		"", "Sent\nA.B\n", "V\t2\n\nSent\nA\tB\n\x01n\t\x012\n", "V\t2\r\n\r\nA\r\n\r\nINBOX", "V\t3\n\nA\n", "V\t2\nA\n", "\n\n.\n..\nInbox\n\x00\n\xff\nZz\n",
	} {
		f.Add([]byte(s), "Zz")
		f.Add([]byte(s), "A/B")
	}
	trees := map[string]*Tree{}
	for what, opt := range allOptions {
		trees[what], _ = testTree(f, opt)
	}
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		if bytes.Contains(file, []byte("\nV\t")) {
			return // in version 1 it would be a header if the lines before it went
		}
		for what, tree := range trees {
			text, err := tree.parse(name)
			if err != nil {
				continue
			}
			s, err := parseSubscriptions(file)
			if err != nil {
				return
			}
			names := func(s subscriptions) (all []string) {
				for _, line := range s.lines {
					if name, ok := tree.subscribedName(s, line); ok {
						if _, err := tree.Canonical(name); err != nil {
							t.Fatalf("%s: %q: line %q shows as %q, which is no name: %v", what, file, line, name, err)
						}
						all = append(all, name)
					}
				}
				return all
			}
			at := encode(text)
			shown := tree.join(tree.show(at))
			had := names(s)
			tree.subscribe(&s, at, true)
			again, err := parseSubscriptions(s.bytes())
			if err != nil {
				t.Fatalf("%s: %q became %q: %v", what, file, s.bytes(), err)
			}
			want := had
			if !slices.Contains(had, shown) {
				want = append(want, shown)
			}
			if got := names(again); !slices.Equal(got, want) {
				t.Fatalf("%s: %q with %q has %q, want %q", what, file, shown, got, want)
			}
			tree.subscribe(&again, at, false)
			again, err = parseSubscriptions(again.bytes())
			want = slices.DeleteFunc(slices.Clone(had), func(n string) bool { return n == shown })
			if got := names(again); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %q without %q has %q, %v, want %q", what, file, shown, got, err, want)
			}
		}
	})
}
