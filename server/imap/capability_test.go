package imap

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"maildird/maildir"
)

// TestCapabilities compares the capabilities after login, with everything configured, with the
// list in testdata, which also serves as documentation.
func TestCapabilities(t *testing.T) {
	text, err := os.ReadFile("../../testdata/imap-capabilities.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(text)) {
		if name, rfc, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.HasPrefix(line, "#") {
			if !strings.Contains(rfc, "RFC ") {
				t.Errorf("%s: which RFC?", name)
			}
			want = append(want, name)
		}
	}
	got := strings.Fields(startServer(t, func(cfg *Config, _ *maildir.AccountOptions) { cfg.UIDOnly = true }).login().ok("CAPABILITY")[0])[2:]
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is announced and not in testdata/imap-capabilities.txt", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s is in testdata/imap-capabilities.txt and not announced", name)
		}
	}
	if slices.Sort(got); len(slices.Compact(got)) != len(want) {
		t.Error("something is announced twice")
	}
}

// TestLongestID: the longest allowed ID (RFC 2971 section 3.3) is accepted
// before the login, too.
func TestLongestID(t *testing.T) {
	var pairs []string
	for i := range 30 {
		pairs = append(pairs, fmt.Sprintf("%q %q", fmt.Sprintf("%030d", i), strings.Repeat("x", 1024)))
	}
	startServer(t).dial().ok("ID (" + strings.Join(pairs, " ") + ")")
}
