package config

import (
	"strings"
	"testing"
)

// TestChanges: changed settings are named as in the file.
func TestChanges(t *testing.T) {
	before, err := load(t, Template("mail.example.org", "example.org", "alice@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if got := Changes(before, before); len(got) > 0 {
		t.Errorf("nothing changed, but %q", got)
	}
	now := *before
	now.CacheDir, now.TLS.Key, now.Limits.Recipients = "/elsewhere", "/elsewhere", 3
	if got := strings.Join(Changes(before, &now), " "); got != "cache_dir tls limits" {
		t.Errorf("changes %q", got)
	}
}
