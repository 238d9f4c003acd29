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
		if i < 0 {
			return
		}
		h.endLine()
		p = p[i+1:]
	}
}

func (h *headerScan) endLine() {
	start := h.start[:h.n]
	h.n = 0
	if len(start) == 0 || len(start) == 1 && start[0] == '\r' {
		h.done = true
		return
	}
	h.lines++
	if strings.EqualFold(string(start), "received:") {
		h.received++
	}
}
