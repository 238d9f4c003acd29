package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestDigest: a test fails and prints a long log after its reason; the reason must
// be in the digest.
func TestDigest(t *testing.T) {
	events := []event{{Action: "output", Output: "=== RUN   TestRandom\n"}}
	say := func(lines ...string) {
		for _, line := range lines {
			events = append(events, event{Action: "output", Output: line + "\n"})
		}
	}
	say("    random_test.go:44: seed 7", "    random_test.go:90: the reason:", "        one", "        two", "        three", "a line of a child")
	say("    coexist_test.go:61: Dovecot's log:")
	for range 1000 {
		say("        imap: Logged out")
	}
	events = append(events, event{Action: "fail"})
	var in, out bytes.Buffer
	for _, e := range events {
		e.Package, e.Test = "maildird/scripts/coexist", "TestRandom"
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	r := &report{w: &out, output: map[key][]string{}}
	if err := r.read(&in); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "imap: Logged out"); n != 1000 {
		t.Errorf("%d lines of the log are shown, of 1000", n)
	}
	want := `failed  maildird/scripts/coexist TestRandom
    random_test.go:44: seed 7
    random_test.go:90: the reason:
        one
        two
    coexist_test.go:61: Dovecot's log:
        imap: Logged out
        imap: Logged out
`
	if got := strings.Join(r.digests, ""); got != want {
		t.Errorf("at the end it says\n%s\nwant\n%s", got, want)
	}
}
