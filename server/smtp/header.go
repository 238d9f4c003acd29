package smtp

import (
	"bytes"
	"strings"
)

// headerScan watches the header of a message go by, in pieces of any size.
type headerScan struct {
	lines    int // so far, with folded ones
	received int // Received fields
	done     bool

	start [len("received:")]byte // of the line that is coming
	n     int                    // octets of start
	colon bool                   // in that line
}

// scan takes the next piece of text with LF line ends.
func (h *headerScan) scan(p []byte) {
	for len(p) > 0 && !h.done {
		i := bytes.IndexByte(p, '\n')
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		h.n += copy(h.start[h.n:], piece)
		h.colon = h.colon || bytes.IndexByte(piece, ':') >= 0
		if i < 0 {
			return
		}
		h.endLine()
		p = p[i+1:]
	}
}

func (h *headerScan) endLine() {
	start, field := h.start[:h.n], h.colon
	h.n, h.colon = 0, false
	if len(start) == 0 || !field && start[0] != ' ' && start[0] != '\t' {
		// The empty line, or a line of a body that has none before it.
		h.done = true
		return
	}
	h.lines++
	if strings.EqualFold(string(start), "received:") {
		h.received++
	}
}
