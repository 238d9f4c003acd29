package smtp

import "bytes"

// firstLine checks how the text of a message begins, because our trace fields precede it. A
// first line that begins with a space or tab would continue the last of these fields (RFC
// 5322 section 2.2.3), so that the sender could forge what they say about him; and a line
// that is not a field would be in the middle of a header. As in Postfix's smtpd(8) and
// cleanup(8), an empty line is inserted before such text, which thus becomes the body. The
// line "From " of an mbox file is often left in front of a header: it is turned into a field,
// so that the header remains intact.
type firstLine struct {
	known bool   // the beginning was checked and completed
	held  []byte // text while that is not known; less than maxFieldName octets
}

// maxFieldName is the maximum length of a field name in octets: that of a line
// (RFC 5322 section 2.1.1).
const maxFieldName = 998

// take returns the text that can be passed on, together with what must precede it.
func (f *firstLine) take(text []byte) []byte {
	if f.known || len(text) == 0 {
		return text
	}
	start := text
	if len(f.held) > 0 {
		start = append(f.held, text...)
	}
	before, known := beforeText(start[:min(len(start), maxFieldName)])
	if !known && len(start) < maxFieldName {
		f.held = bytes.Clone(start)
		return nil
	}
	return f.put(before, start)
}

// end returns the text that is still held at the end of the message.
func (f *firstLine) end() []byte {
	if len(f.held) == 0 {
		return nil
	}
	before, _ := beforeText(f.held)
	return f.put(before, f.held)
}

func (f *firstLine) put(before string, start []byte) []byte {
	*f = firstLine{known: true}
	if before == "" {
		return start
	}
	return append([]byte(before), start...)
}

// beforeText returns what must precede a text that begins with start, which must not be empty.
// If known is false, that holds only if nothing else follows.
func beforeText(start []byte) (before string, known bool) {
	const bodyFollows, mboxLine, from = "\n", "X-Mailbox-Line: ", "From "
	if start[0] == '\n' {
		return "", true
	}
	if rest := bytes.TrimLeft(start, ">"); bytes.HasPrefix(rest, []byte(from)) {
		return mboxLine, true
	} else if len(rest) < len(from) && bytes.HasPrefix([]byte(from), rest) {
		return bodyFollows, false
	}
	name := 0
	for name < len(start) && start[name] > ' ' && start[name] < 0x7f && start[name] != ':' {
		name++
	}
	// RFC 5322 section 4.5: spaces after the name are obsolete, but occur.
	rest := bytes.TrimLeft(start[name:], " \t")
	switch {
	case name == 0:
		return bodyFollows, true
	case len(rest) == 0:
		return bodyFollows, false
	case rest[0] == ':':
		return "", true
	}
	return bodyFollows, true
}
