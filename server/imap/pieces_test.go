package imap

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"maildird/server/imap/syntax"
)

// TestPiecesOfLongMessage: partial texts of a message that is too long to be held in memory are
// correct, whether they end within the length of the file, between that and the length in CRLF
// form, at the end, or beyond it.
func TestPiecesOfLongMessage(t *testing.T) {
	const readHeader, readAhead = 16 << 10, 64 << 10 // what package mailfile reads at once
	rng := rand.New(rand.NewPCG(6, 1))
	for name, ends := range map[string][]string{"LF": {"\n"}, "CRLF": {"\r\n"}, "both": {"\n", "\r\n", "\r", "\x00\n"}} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			if err := ts.provision("alice"); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			text.WriteString("Subject: long" + ends[0] + ends[0])
			for text.Len() < 2*readAhead {
				text.WriteString(strings.Repeat("x", rng.IntN(60)) + ends[rng.IntN(len(ends))])
			}
			file := filepath.Join(ts.root("alice"), "cur", "17.M1P1.long:2,")
			if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			c := ts.login()
			c.ok("SELECT INBOX")
			content := func(item string) string {
				t.Helper()
				c.send("p FETCH 1 " + item + "\r\n")
				head := c.line()
				_, size, _ := strings.Cut(head, "{")
				n, err := strconv.Atoi(strings.TrimSuffix(size, "}"))
				if err != nil {
					t.Fatalf("FETCH %s: %.200q instead of a literal", item, head)
				}
				octets := make([]byte, n)
				if _, err := io.ReadFull(c.in, octets); err != nil {
					t.Fatal(err)
				}
				if rest, end := c.line(), c.line(); rest != ")" || !strings.HasPrefix(end, "p OK ") {
					t.Fatalf("FETCH %s: %q and %q behind the literal", item, rest, end)
				}
				return string(octets)
			}
			for _, section := range []string{"", "TEXT"} {
				whole := content("BODY.PEEK[" + section + "]")
				phys, virt := text.Len(), len(whole)
				for i := range 40 {
					from := []int{0, 1, rng.IntN(virt), phys - 3, virt - 3, virt, virt + 5}[i%7]
					n := []int{1, readHeader, readAhead, max(phys-from, 1), phys, max(virt-from, 1), 2 * virt}[rng.IntN(7)]
					piece := content(fmt.Sprintf("BODY.PEEK[%s]<%d.%d>", section, from, n))
					if want := whole[min(from, virt):min(from+n, virt)]; piece != want {
						t.Fatalf("BODY[%s]<%d.%d> of %d octets (%d in the file) has %d octets, want %d of the whole", section, from, n, virt, phys, len(piece), len(want))
					}
				}
			}
		})
	}
}

// TestManyHeaderSections: header fields in hundreds of sections of one FETCH are correct, in parts
// too, and are not all in memory at once.
func TestManyHeaderSections(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	head := "Subject: long\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 70)+"\r\n", 6000)
	text := head + "Content-Type: message/rfc822\r\n\r\n" + head + "\r\ntext\r\n"
	if err := os.WriteFile(filepath.Join(ts.root("alice"), "cur", "17.M1P1.long:2,"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const sections = 300
	var items strings.Builder
	want := make([]string, sections)
	for i := range want {
		want[i] = head + "\r\n"
		switch part := ""; i % 3 {
		case 1:
			part = "1."
			fallthrough
		case 0:
			fmt.Fprintf(&items, " BODY.PEEK[%sHEADER.FIELDS (X%d Subject X-Long)]", part, i)
		case 2:
			fmt.Fprintf(&items, " BODY.PEEK[HEADER.FIELDS.NOT (X%d Content-Type)]<%d.100000>", i, 400_000+i)
			want[i] = want[i][400_000+i : min(500_000+i, len(want[i]))]
		}
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.send("p FETCH 1 (" + items.String()[1:] + ")\r\n")
	for i, want := range want {
		line := c.line()
		if i == 0 {
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
				t.Errorf("the response takes %d octets of memory", grown)
			}
		}
		_, size, _ := strings.Cut(line, "{")
		n, err := strconv.Atoi(strings.TrimSuffix(size, "}"))
		if err != nil {
			t.Fatalf("%.200q instead of literal %d", line, i)
		}
		octets := make([]byte, n)
		if _, err := io.ReadFull(c.in, octets); err != nil {
			t.Fatal(err)
		}
		if string(octets) != want {
			t.Fatalf("section %d has %d octets, want %d: %.200q", i, n, len(want), line)
		}
	}
	if rest, end := c.line(), c.line(); rest != ")" || !strings.HasPrefix(end, "p OK ") {
		t.Fatalf("%q and %q behind the last section", rest, end)
	}
}

// TestHeaderSectionIsCut: if another program truncates a message while its header fields are sent,
// the literal remains incomplete, and the session ends in order.
func TestHeaderSectionIsCut(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	head := "Subject: long\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 70)+"\r\n", 6000)
	file := filepath.Join(ts.root("alice"), "cur", "17.M1P1.long:2,")
	if err := os.WriteFile(file, []byte("Content-Type: message/rfc822\r\n\r\n"+head+"\r\ntext\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ok("SELECT INBOX")
	var items strings.Builder
	for i := range 300 {
		fmt.Fprintf(&items, " BODY.PEEK[1.HEADER.FIELDS (X%d Subject X-Long)]", i)
	}
	c.send("p FETCH 1 (" + items.String()[1:] + ")\r\n")
	c.want("* 1 FETCH (")
	if err := os.Truncate(file, 100_000); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c.in); err != nil || n > 300*int64(len(head)) {
		t.Errorf("%d octets, %v", n, err)
	}
	ts.stop()
	if log := ts.log.String(); strings.Contains(log, "panic") || !strings.Contains(log, syntax.ErrShortLiteral.Error()) {
		t.Error(log)
	}
}
