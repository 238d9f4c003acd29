package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress shows a progress bar on a terminal, and nothing elsewhere, as a log has no use for
// it. Only one goroutine may use it.
type progress struct {
	out   io.Writer // nil if not a terminal
	title string
	what  string // unit of the counts
	last  time.Time
	shown bool
}

const (
	barWidth    = 30
	barInterval = 100 * time.Millisecond
)

func newProgress(out io.Writer, title, what string) *progress {
	p := &progress{title: title, what: what}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = out
	}
	return p
}

// update draws the bar, at most ten times per second.
func (p *progress) update(done, total int) {
	if p.out == nil || time.Since(p.last) < barInterval {
		return
	}
	p.last, p.shown = time.Now(), true
	total = max(total, done, 1)
	full := barWidth * done / total
	fmt.Fprintf(p.out, "\r%s [%s%s] %d of %d %s\x1b[K", p.title,
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, total, p.what)
}

// end removes the bar.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// many returns a count with its unit: "1 message", "2 messages".
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
