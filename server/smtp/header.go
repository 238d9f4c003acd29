package smtp

import (
	"bytes"
	"strings"
)

// headerScan inspects the header of a message as it passes, in pieces of any size.
type headerScan struct {
	lines     int    // so far, including continuation lines
	received  int    // Received fields
	messageID string // of the first Message-ID field
	done      bool

	start [len("message-id:") + maxLoggedID]byte // of the current line
	n     int                                    // octets of start
	colon bool                                   // the current line has a colon
	inID  bool                                   // the preceding lines were a Message-ID field without a value, which some senders fold
}

// maxLoggedID is the maximum length of a Message-ID in the log, in octets.
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
		// An empty line, or a line of a body that is not preceded by one.
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

// fieldValue returns what follows a field name and its colon.
func fieldValue(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || !strings.EqualFold(string(line[:len(name)]), name) {
		return nil, false
	}
	return line[len(name):], true
}
