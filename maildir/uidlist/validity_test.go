package uidlist

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/scripts/rig"
	"maildird/scripts/rig/doveimap"
)

func counters(t testing.TB, d *dirfd.Dir) []string {
	return slices.DeleteFunc(entries(t, d.Path()), func(n string) bool { return !strings.HasPrefix(n, validityName) })
}

// TestNextValidity: what is in the root, and what comes next.
func TestNextValidity(t *testing.T) {
	now := time.Unix(0x60000000, 0)
	for _, c := range []struct {
		name   string
		text   string   // of dovecot-uidvalidity, "" for no file
		files  []string // suffixes
		want   uint32
		fails  bool
		remain []string
	}{
		{name: "nothing", want: 0x60000000},
		{name: "one", text: "5fffffff", files: []string{"5fffffff"}, want: 0x60000000},
		{name: "ahead of the clock", text: "70000000", files: []string{"70000000"}, want: 0x70000001},
		{name: "text behind", text: "10000000", files: []string{"5abcdef0"}, want: 0x5abcdef1},
		{name: "text only", text: "70000000", want: 0x70000001},
		{name: "text that is none", text: "hello", want: 0x60000000},
		{name: "text that nothing follows", text: "ffffffff", want: 0x60000000},
		{name: "two: the higher counts", files: []string{"10000000", "5abcdef0"}, want: 0x5abcdef1, remain: []string{"10000000"}},
		{name: "other names", files: []string{"xyz", "123", "5abcdefg", "5abcdef00"}, want: 0x60000000, remain: []string{"xyz", "123", "5abcdefg", "5abcdef00"}},
		{name: "the last", files: []string{"ffffffff"}, fails: true, remain: []string{"ffffffff"}},
		{name: "one before the last", files: []string{"fffffffe"}, want: 0xffffffff},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t)
			if c.text != "" {
				must(t, os.WriteFile(filepath.Join(d.Path(), validityName), []byte(c.text), 0o600))
			}
			for _, f := range c.files {
				must(t, os.WriteFile(filepath.Join(d.Path(), validityName+"."+f), nil, 0o444))
			}
			got, err := NextValidity(d, now, true)
			if got != c.want || (err != nil) != c.fails {
				t.Fatalf("%08x, %v; want %08x", got, err, c.want)
			}
			want := []string{}
			for _, f := range c.remain {
				want = append(want, validityName+"."+f)
			}
			if err == nil {
				want = append(want, validityName, fmt.Sprintf("%s.%08x", validityName, c.want))
				text, err := os.ReadFile(filepath.Join(d.Path(), validityName))
				if err != nil || string(text) != fmt.Sprintf("%08x", c.want) {
					t.Errorf("text %q, %v", text, err)
				}
			}
			slices.Sort(want)
			if got := counters(t, d); !slices.Equal(got, want) {
				t.Errorf("files %q, want %q", got, want)
			}
		})
	}
}

func TestRaiseValidity(t *testing.T) {
	d := openDir(t)
	for _, least := range []uint32{500, 400, 500, 900} {
		must(t, RaiseValidity(d, least, false))
		n, err := NextValidity(d, time.Unix(100, 0), false)
		must(t, err)
		if n <= least {
			t.Errorf("%d after it was raised to %d", n, least)
		}
	}
	if got := counters(t, d); len(got) != 2 {
		t.Errorf("files %q", got)
	}
}

// TestNextValidityAfterAnother: another program creates the counter, and advances it past our
// value, after we have found none.
func TestNextValidityAfterAnother(t *testing.T) {
	d := openDir(t)
	other := filepath.Join(d.Path(), validityName+".60000001")
	d.Before(func(op, _ string) error {
		if op == "create" {
			must(t, os.WriteFile(other, nil, 0o444))
		}
		return nil
	})
	if n, err := NextValidity(d, time.Unix(0x60000000, 0), false); n != 0x60000002 || err != nil {
		t.Errorf("%08x, %v", n, err)
	}
}

// TestNextValidityAtOnce: many callers allocate values at once, starting from nothing, and
// no two get the same.
func TestNextValidityAtOnce(t *testing.T) {
	path := openDir(t).Path()
	var mu sync.Mutex
	taken := map[uint32]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d, err := dirfd.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			for range 25 {
				n, err := NextValidity(d, time.Now(), false)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if taken[n] {
					t.Errorf("%d twice", n)
				}
				taken[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(taken) != 200 {
		t.Errorf("%d values", len(taken))
	}
}

// TestValidityWithDovecot: Dovecot and maildird allocate values from one counter.
func TestValidityWithDovecot(t *testing.T) {
	root := doveimap.Maildir(t)
	d, err := dirfd.Open(root)
	must(t, err)
	defer d.Close()
	s := doveimap.Start(t, root)
	defer s.Close()
	last := uint32(0)
	grew := func(who string, n uint32) {
		t.Helper()
		if n <= last {
			t.Errorf("%s took %d after %d", who, n, last)
		}
		last = n
	}
	for i := range 4 {
		box := fmt.Sprint("box", i)
		s.Do("CREATE " + box)
		grew("Dovecot", s.Status(box).UIDValidity)
		for range 1 + 20*(i%2) { // once more than Dovecot looks without a search
			n, err := NextValidity(d, time.Now(), true)
			must(t, err)
			grew("maildird", n)
		}
		must(t, RaiseValidity(d, last+1000, true))
		must(t, rig.Own(root))
		last += 1000
	}
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, "uidvalidity") {
			t.Errorf("Dovecot logged %s", line)
		}
	}
}
