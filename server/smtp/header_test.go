package smtp

import (
	"strings"
	"testing"
)

// TestHeaderScan: the result of a header scan does not depend on the pieces in which the header
// arrives, and ends where the body begins.
func TestHeaderScan(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		text            string
		lines, received int
		id              string
	}{
		{"Received: a\nreceived: b\nSubject: c\n\nReceived: d\nMessage-ID: <no>\n", 3, 2, ""},
		{"From: a\nMessage-ID: <1@example.org>\n\n", 2, 0, "<1@example.org>"},
		{"message-id:<1@example.org> \nMESSAGE-ID: <2@example.org>\n\n", 2, 0, "<1@example.org>"},
		{"Message-ID:\n \t<folded@example.org>\nTo: b\n <x>\n\n", 4, 0, "<folded@example.org>"},
		{"Message-ID:\nTo: b\n <x>\n\n", 3, 0, ""},
		{"Message-ID: <a>\n <b>\n\n", 2, 0, "<a>"},
		{"X-Message-ID: <a>\nReceived-SPF: pass\n\n", 2, 0, ""},
		{"Message-ID: " + long + "\nReceived: a\n\n", 2, 1, long[:maxLoggedID-1]},
		{"no header\nMessage-ID: <a>\n", 0, 0, ""},
		{"Message-ID: <unfinished@example.org>", 0, 0, ""},
	} {
		for _, size := range []int{1, 2, 7, 4096} {
			var h headerScan
			for rest := c.text; rest != ""; {
				n := min(size, len(rest))
				h.scan([]byte(rest[:n]))
				rest = rest[n:]
			}
			if h.lines != c.lines || h.received != c.received || h.messageID != c.id {
				t.Errorf("%.60q in pieces of %d: %d lines, %d Received, Message-ID %q, want %d, %d, %q",
					c.text, size, h.lines, h.received, h.messageID, c.lines, c.received, c.id)
			}
		}
	}
}

// FuzzHeaderScan: the result of a header scan equals that of a search in the whole header,
// whatever pieces it arrives in.
func FuzzHeaderScan(f *testing.F) {
	for _, s := range []string{"Received: a\nX: b\n c\nMessage-ID:\n <d>\n\nReceived: e\n", "message-id: <a>\nno field\nReceived:\n", "\n", " :\nRECEIVED:\nMessage-ID: \n\tx"} {
		f.Add(s, uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		var once, h headerScan
		once.scan([]byte(text))
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			h.scan([]byte(rest[:n]))
			rest = rest[n:]
		}
		if h != once {
			t.Fatalf("%q in pieces of %d: %+v, at once %+v", text, int(size)+1, h, once)
		}
		lines, received := 0, 0
		for line := range strings.Lines(text) {
			line, whole := strings.CutSuffix(line, "\n")
			if !whole || line == "" || !strings.Contains(line, ":") && line[0] != ' ' && line[0] != '\t' {
				break
			}
			lines++
			if _, ok := fieldValue([]byte(line), "received:"); ok {
				received++
			}
		}
		if h.lines != lines || h.received != received || len(h.messageID) > maxLoggedID || strings.ContainsAny(h.messageID, "\n") {
			t.Fatalf("%q: %+v, want %d lines, %d Received", text, h, lines, received)
		}
	})
}
