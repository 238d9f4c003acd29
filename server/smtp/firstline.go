package smtp

import "bytes"

// firstLine looks at how the text of a message begins, which our own fields are put
// on top of: a line that begins with a space or tab would continue the last of them
// (RFC 5322 section 2.2.3), so that the sender could write into what we say of him,
// and a line that is no field would stand in the middle of a header. As with Postfix's
// smtpd(8) and cleanup(8), an empty line comes before such text, which is a body then.
// The line that begins a message in an mbox file, "From " and more, often comes in
// front of a header: it becomes a field, so that the header stays one.
type firstLine struct {
	known bool   // what goes before the text, and it was put there
	held  []byte // of the text while that is not known; less than maxFieldName octets
}

// maxFieldName is how far the name of a field is looked for, in octets: as far as a
// line may go (RFC 5322 section 2.1.1).
const maxFieldName = 998

// take returns what of the text can be passed on, with what goes before it, when the
// next piece has come.
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

// end returns what is held back when the message has ended.
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

// beforeText returns what goes between our fields and a text that begins with start,
// which is not empty. If that is not known yet, it is what goes there if no more comes.
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
	// RFC 5322 section 4.5: some put spaces behind the name.
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
