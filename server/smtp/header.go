package smtp

import (
	"bytes"
	"strings"
)

// headerScan watches the header of a message go by, in pieces of any size.
type headerScan struct {
	lines     int    // so far, with folded ones
	received  int    // Received fields
	messageID string // of the first Message-ID field, for the log
	done      bool

	start [len("message-id:") + maxLoggedID]byte // of the line that is coming
	n     int                                    // octets of start
	colon bool                                   // in that line
	inID  bool                                   // the lines before were Message-ID without its value: some fold there
}

// maxLoggedID bounds what of a Message-ID gets into the log, in octets.
const maxLoggedID = 250

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
	id := h.inID && (start[0] == ' ' || start[0] == '\t')
	h.inID = false
	value := start
	if v, ok := fieldValue(start, "message-id:"); ok {
		value, id = v, true
	} else if _, ok := fieldValue(start, "received:"); ok {
		h.received++
	}
	if id && h.messageID == "" {
		h.messageID = string(bytes.TrimSpace(value))
		h.inID = h.messageID == ""
	}
}

// fieldValue is what comes behind the name of a field and its colon.
func fieldValue(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || !strings.EqualFold(string(line[:len(name)]), name) {
		return nil, false
	}
	return line[len(name):], true
}
