package mailgen

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"maildird/maildir/message"
)

// TestSameInEveryRun: the output must not change, since new measurements are
// compared with older ones.
func TestSameInEveryRun(t *testing.T) {
	h := sha256.New()
	for i := range 200 {
		h.Write(Message(i))
	}
	h.Write(Letter(1, 5000))
	h.Write(WithAttachment(1, 100_000))
	const want = "7aa942f46b924235"
	if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != want {
		t.Errorf("the mail has changed: %s, was %s", got, want)
	}
}

// TestShapes checks that all kinds of bodies occur and are valid.
func TestShapes(t *testing.T) {
	seen := map[string]int{}
	total := 0
	for i := range 1000 {
		text := Message(i)
		total += len(text)
		if bytes.Contains(text, []byte("\r")) {
			t.Fatalf("message %d has a CR", i)
		}
		root, err := message.Parse(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		kind := root.Type + "/" + root.Subtype + " " + root.Encoding
		seen[kind]++
		if root.Multipart() && len(root.Children) < 2 {
			t.Errorf("message %d has %d parts", i, len(root.Children))
		}
	}
	for _, kind := range []string{
		"text/plain 8bit", "multipart/alternative ", "multipart/mixed ", "multipart/report ", "text/plain base64", "text/plain quoted-printable",
	} {
		if seen[kind] < 5 {
			t.Errorf("%d messages of %s", seen[kind], kind)
		}
	}
	if mean := total / 1000; mean < 3000 || mean > 12_000 {
		t.Errorf("messages have %d bytes in the mean", mean)
	}
	if n := len(WithAttachment(1, 10<<20)); n < 10<<20 || n > 15<<20 {
		t.Errorf("an attachment of 10 MB makes %d bytes", n)
	}
}
