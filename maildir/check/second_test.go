package check

import (
	"os"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
)

// TestSecondAlone: if a server removes the name that was to be kept, or gives it to another
// message, the other name stays.
func TestSecondAlone(t *testing.T) {
	for name, meanwhile := range map[string]func(cur string) error{
		"removed":  func(cur string) error { return os.Remove(cur + "1.a:2,S") },
		"replaced": func(cur string) error { return os.Rename(cur+"2.b:2,", cur+"1.a:2,S") },
	} {
		t.Run(name, func(t *testing.T) {
			path := maildir(t)
			write(t, path+"/cur/1.a:2,", "x")
			must(t, os.Link(path+"/cur/1.a:2,", path+"/cur/1.a:2,S"))
			write(t, path+"/cur/2.b:2,", "y")
			root, err := dirfd.Open(path)
			must(t, err)
			defer root.Close()
			var found []Finding
			c := &checker{root: root, opt: Options{Repair: true, Locker: dotlock.NewLocker(""), Tell: func(f Finding) { found = append(found, f) }}}
			a := &at{dir: root}
			if must(t, c.duplicates(t.Context(), a)); len(a.problems) != 1 {
				t.Fatalf("found %v", a.problems)
			}
			must(t, meanwhile(path+"/cur/"))
			if must(t, c.settle(t.Context(), a)); len(found) > 0 {
				t.Errorf("repaired %v", found)
			}
			if text, err := os.ReadFile(path + "/cur/1.a:2,"); string(text) != "x" {
				t.Errorf("the message is %q, %v", text, err)
			}
		})
	}
}
