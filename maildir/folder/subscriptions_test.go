package folder

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSubscribeInbox: INBOX has no levels, and its line is that word in every layout.
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

// TestSubscriptionsLikeVersions: a line of version 1 that starts like the header of another
// version is a name, and does not become a header.
func TestSubscriptionsLikeVersions(t *testing.T) {
	for file, after := range map[string]string{
		"Sent\nV\tx\nA\n":        "V\tx\nA\n",
		"V\tx\nSent\n":           "V\tx\n",
		"Sent\nV\t2\nV\t10\nA\n": "A\nV\t2\nV\t10\n",
		"Sent\nV\t2\n":           "",
	} {
		tree, root := testTree(t, ppSlash)
		path := filepath.Join(root, "subscriptions")
		must(t, os.WriteFile(path, []byte(file), 0o600))
		must(t, tree.SetSubscribed(t.Context(), "Sent", false))
		if got, err := os.ReadFile(path); err != nil || string(got) != after {
			t.Errorf("%q became %q, %v, want %q", file, got, err, after)
		}
		if _, err := tree.Subscriptions(); err != nil {
			t.Errorf("%q: %v", after, err)
		}
	}
}

// TestUnusableSubscriptions: an unusable subscriptions file does not prevent mailboxes from
// being listed. The log says so, once.
func TestUnusableSubscriptions(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"huge":    func(path string) error { return os.Truncate(path, maxTreeFile+1) },
		"version": func(path string) error { return os.WriteFile(path, []byte("V\t3\n\nA\n"), 0o600) },
		"link":    func(path string) error { return errors.Join(os.Remove(path), os.Symlink("cur", path)) },
	} {
		tree, root := testTree(t, ppSlash, ".A/cur/", "subscriptions = A")
		var log bytes.Buffer
		tree.LogTo(slog.New(slog.NewTextHandler(&log, nil)))
		must(t, spoil(filepath.Join(root, "subscriptions")))
		for range 3 {
			if got := brief(t, tree); !slices.Equal(got, []string{"INBOX", "A"}) {
				t.Errorf("%s: listed %q", name, got)
			}
		}
		if n := strings.Count(log.String(), "subscriptions cannot be read"); n != 1 {
			t.Errorf("%s: logged %d times:\n%s", name, n, log.String())
		}
		if _, err := tree.Subscriptions(); err == nil {
			t.Errorf("%s: subscribed to nothing, as it were", name)
		}
	}
}

// TestSubscriptionsEdited: an editor left CR LF at the ends of the lines, or removed the
// empty line of version 2.
func TestSubscriptionsEdited(t *testing.T) {
	for name, c := range map[string]struct{ file, after string }{
		"version 1":     {"Sent\r\nA.B\r\nINBOX\r\n", "A.B\nINBOX\n"},
		"version 2":     {"V\t2\r\n\r\nSent\r\nA\tB\r\nINBOX\r\n", "V\t2\n\nA\tB\nINBOX\n"},
		"one CR LF":     {"Sent\nA.B\r\nINBOX\n", "A.B\nINBOX\n"},
		"CR at the end": {"Sent\r\nA.B\r\nINBOX\r", "A.B\nINBOX\n"},
		"CR CR LF":      {"Sent\r\r\nA.B\nINBOX\n", "A.B\nINBOX\n"},
		"no empty line": {"V\t2\nSent\nA\tB\nINBOX\n", "V\t2\n\nA\tB\nINBOX\n"},
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

// FuzzSubscriptions reads any file. Subscribing and unsubscribing a name changes nothing
// else, whatever the file contains.
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
		if regexp.MustCompile(`\nV\t\d`).Match(file) {
			return // in version 1 it is put elsewhere if the lines before it go
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
