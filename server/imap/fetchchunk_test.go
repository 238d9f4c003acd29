package imap

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/filename"
)

// TestFetchKnown fetches sizes, dates and flags of more messages than the server processes in
// one chunk. Some have their size in the name, and some were requested before. Values from
// memory and from files must come in the right order.
func TestFetchKnown(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	cur := filepath.Join(ts.root("alice"), "cur")
	const n = 2*fetchChunk + 44
	want := make([]string, n)
	for i := range n {
		text := fmt.Sprintf("Subject: %s\n\n%s", strings.Repeat("x", i%7), strings.Repeat("line\n", i%50))
		size := len(text) + strings.Count(text, "\n")
		flags := filename.Flags(i*i%61) & (filename.Seen | filename.Flagged | filename.Draft | filename.Answered | filename.Passed)
		if i%3 == 0 {
			flags |= filename.Keyword(i % 5)
		}
		name := fmt.Sprintf("%d.M%dP1.test", 1_600_000_000+i, i)
		if i/40%2 == 0 {
			name += fmt.Sprintf(",W=%d", size)
		}
		path := filepath.Join(cur, filename.WithFlags(name, flags))
		date := time.Unix(1_600_000_000+int64(i)*86_399, 0)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, date, date); err != nil {
			t.Fatal(err)
		}
		want[i] = fmt.Sprintf("* %d FETCH (UID %d FLAGS %s INTERNALDATE %s RFC822.SIZE %d)",
			i+1, i+1, flagNames(flags), date.Format(`"_2-Jan-2006 15:04:05 -0700"`), size)
	}
	keywords := "0 key0\n1 key1\n2 key2\n3 key3\n4 key4\n"
	if err := os.WriteFile(filepath.Join(ts.root("alice"), "dovecot-keywords"), []byte(keywords), 0o600); err != nil {
		t.Fatal(err)
	}
	c := ts.login()
	c.ok("ENABLE IMAP4rev2") // no \Recent
	c.ok("SELECT INBOX")
	for _, set := range []string{"7", "100:140", "250:270,1,3,5,7,300:290", "1:300", "1:*", "1:*"} {
		got := c.ok("UID FETCH " + set + " (UID FLAGS INTERNALDATE RFC822.SIZE)")
		var all []string
		switch set {
		case "7":
			all = want[6:7]
		case "100:140":
			all = want[99:140]
		case "250:270,1,3,5,7,300:290":
			all = slices.Concat(want[:1], want[2:3], want[4:5], want[6:7], want[249:270], want[289:300])
		default:
			all = want
		}
		if !slices.Equal(got, all) {
			for i := range max(len(got), len(all)) {
				if i >= len(got) || i >= len(all) || got[i] != all[i] {
					t.Fatalf("%s: %d lines, want %d; at %d:\n%v\nwant\n%v", set, len(got), len(all), i, got[min(i, len(got)):], all[min(i, len(all)):])
				}
			}
		}
	}
}

// flagNames returns the expected representation of flags, with the keywords key0 to key4.
func flagNames(f filename.Flags) string {
	var names []string
	for _, s := range systemFlags {
		if f&s.flag != 0 {
			names = append(names, string(s.name))
		}
	}
	f.EachKeyword(func(i int) { names = append(names, fmt.Sprintf("key%d", i)) })
	if f&filename.Passed != 0 {
		names = append(names, "$Forwarded")
	}
	return "(" + strings.Join(names, " ") + ")"
}
