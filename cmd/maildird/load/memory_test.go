package load

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"maildird/scripts/rig"
)

// TestMemoryOfIdleConnections measures the cost of an idle client: the memory of the process
// (PSS) after a garbage collection.
func TestMemoryOfIdleConnections(t *testing.T) {
	n := several(150, 2000)
	for _, c := range []struct {
		service, how string
		messages     int // in each user's INBOX
		most         int // KiB per connection, with room for a late garbage collection
	}{
		{"imap", "SELECT", 0, 80},
		{"imap", "SELECT", 200, 160},
		{"imap", "IDLE", 0, 80},
		{"imaps", "IDLE", 0, 160},
		{"smtp", "EHLO", 0, 80},
	} {
		t.Run(fmt.Sprint(c.service, " ", c.how, " ", c.messages), func(t *testing.T) {
			m := start(t, n)
			fill(t, m, n, c.messages)
			// The cost of the first connections of each kind is not counted.
			crowd(t, min(n, 2*perUser), func(i int) (*client, error) {
				cl, err := idle(m, c.service, c.how, i*perUser%n)
				if err == nil {
					_ = cl.Close()
				}
				return cl, err
			})
			before := settled(t, m)
			crowd(t, n, func(i int) (*client, error) { return idle(m, c.service, c.how, i) })
			peak := memory(t, m, "smaps_rollup", "Pss")
			after := settled(t, m)
			each := float64(after-before) / float64(n)
			t.Logf("%d connections: %.1f KiB each (%.1f before a garbage collection); %d KiB without any",
				n, each, float64(peak-before)/float64(n), before)
			if each > float64(c.most) {
				t.Errorf("a connection takes %.1f KiB", each)
			}
		})
	}
}

// fill writes mail to the INBOX of the users of n connections.
func fill(t *testing.T, m *rig.Maildird, n, messages int) {
	t.Helper()
	if messages == 0 {
		return
	}
	for i := 0; i < n; i += perUser {
		home := m.Home(user(i))
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(home, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for j := range messages {
			name := fmt.Sprintf("1700000000.M%06dP1.host,S=12,W=14:2,S", j)
			if err := os.WriteFile(filepath.Join(home, "cur", name), []byte("Subject: x\n\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := rig.Own(filepath.Join(m.Dir, "mail")); err != nil {
		t.Fatal(err)
	}
}
