package search

import (
	"bytes"
	"strings"

	"maildird/maildir/message"
	"maildird/server/imap/casemap"
	"maildird/server/imap/mailfile"
)

// load reads what tests of this cost need.
func (sr *Searcher) load(cost Cost) {
	switch cost {
	case CostHeader:
		sr.scanner.Reset()
		rec, _ := sr.cached.Read(sr.Message)
		sr.File = mailfile.New(sr.View, sr.Message, nil, rec, sr.check)
		if rec.Has() == 0 && sr.plan.test.cost == CostBody {
			sr.failed(sr.File.Open(true)) // read the file at once
		}
		if sr.err == nil {
			sr.failed(sr.scanHeader())
		}
	case CostBody:
		sr.failed(sr.scanBody())
		sr.noteFound(isFalse)
	}
}

// noteFound sets the answers of the scanner's probes: isTrue for those found,
// otherwise for the others.
func (sr *Searcher) noteFound(otherwise answer) {
	for i, probe := range sr.scanned {
		sr.answers[probe] = otherwise
		if sr.scanner.Found(i) {
			sr.answers[probe] = isTrue
		}
	}
}

// scanHeader answers the probes InField, and looks for those InText.
func (sr *Searcher) scanHeader() error {
	head, err := sr.File.Header()
	if err != nil {
		return err
	}
	for i, p := range sr.plan.probes {
		if p.In == InField {
			sr.answers[i] = isFalse
		}
	}
	sr.scanFields(head, true)
	sr.noteFound(isOpen)
	return nil
}

// scanFields searches the fields of a header with CRLF line ends for probes InText and, if it
// is the message's own header, for those InField.
func (sr *Searcher) scanFields(head []byte, own bool) {
	own = own && len(sr.fields) > 0
	if !own && sr.inText == 0 {
		return
	}
	if sr.names != nil { // and no probe is InText
		message.EachNamed(head, sr.names, func(i int, value []byte) { sr.scanField(value, sr.fields[sr.names[i]]) })
		return
	}
	sr.field = sr.field[:0]
	message.EachEntry(head, func(name, value []byte) bool {
		if own && name != nil {
			var lower [maxFieldName]byte
			if len(name) <= len(lower) {
				if probes := sr.fields[string(appendLower(lower[:0], name))]; len(probes) > 0 {
					sr.scanField(value, probes)
				}
			}
		}
		if sr.inText > 0 {
			sr.appendField(name, value)
		}
		return true
	})
	if sr.inText > 0 {
		sr.scanner.Line(sr.field, sr.inText)
	}
}

// appendField adds a field, or a line that is not a field, to the text that is searched for
// probes InText. It contains all fields, separated by octets that no search string can contain.
func (sr *Searcher) appendField(name, value []byte) {
	if name != nil {
		sr.field = append(append(sr.field, name...), ": "...)
	}
	sr.field = append(appendFieldText(sr.field, value, false), 0)
	if hasBlanks(value) { // the search string may match either form
		sr.field = append(appendFieldText(sr.field, value, true), 0)
	}
}

// scanField looks for probes in one field.
func (sr *Searcher) scanField(value []byte, probes []int) {
	sr.value = appendFieldText(sr.value[:0], value, true)
	sr.folded = casemap.Append(sr.folded[:0], sr.value)
	people := false
	for _, i := range probes {
		if bytes.Contains(sr.folded, sr.plan.probes[i].Needle) {
			sr.answers[i] = isTrue
		}
		people = people || sr.plan.probes[i].People && sr.answers[i] != isTrue
	}
	if !people || !oddlyWritten(value) {
		return
	}
	sr.folded = casemap.Append(sr.folded[:0], message.AppendAddresses(nil, value))
	for _, i := range probes {
		if p := &sr.plan.probes[i]; p.People && bytes.Contains(sr.folded, p.Needle) {
			sr.answers[i] = isTrue
		}
	}
}

// oddlyWritten reports whether addresses may be written differently from ENVELOPE: with
// comments, quoted characters, or spaces in an address.
func oddlyWritten(value []byte) bool {
	return bytes.ContainsAny(value, "(\\") || bytes.Contains(value, []byte(" @")) || bytes.Contains(value, []byte("@ "))
}

// appendFieldText appends the value of a field as one line, with encoded words decoded, and
// with oneSpace each run of white space as one space.
func appendFieldText(dst, value []byte, oneSpace bool) []byte {
	from := len(dst)
	if value = bytes.TrimSpace(value); oneSpace {
		dst = appendOneSpaced(dst, value)
	} else {
		for _, c := range value {
			if c != '\r' && c != '\n' {
				dst = append(dst, c)
			}
		}
	}
	if line := dst[from:]; bytes.Contains(line, []byte("=?")) {
		return append(dst[:from], message.DecodeHeader(string(line))...)
	}
	return dst
}

// appendOneSpaced appends text with each run of white space replaced by one space. Where and
// how a long field is folded (RFC 5322 section 2.2.3) is invisible to users, so searches must
// not depend on it.
func appendOneSpaced(dst, text []byte) []byte {
	blank := false
	for _, c := range text {
		if c == '\r' || c == '\n' {
			continue
		}
		if c == '\t' {
			c = ' '
		}
		if c != ' ' || !blank {
			dst = append(dst, c)
		}
		blank = c == ' '
	}
	return dst
}

// hasBlanks reports whether appendOneSpaced changes more than line ends.
func hasBlanks(text []byte) bool {
	return bytes.IndexByte(text, '\t') >= 0 || bytes.Contains(text, []byte("  "))
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// scanBody searches all parts for what was not found in the header.
func (sr *Searcher) scanBody() error {
	if sr.scanner.Left() == 0 {
		return nil
	}
	root, err := sr.File.Structure()
	if err != nil {
		return err
	}
	return sr.scanPart(root, true)
}

// scanPart searches a part. The header of a part belongs to the text, but not to the body (RFC
// 9051 section 6.4.4); that of the message itself was searched before.
func (sr *Searcher) scanPart(p *message.Part, root bool) error {
	if sr.scanner.Left() == 0 {
		return nil
	}
	if !root && sr.inText > 0 {
		head, err := sr.File.PartHeader(p)
		if err != nil {
			return err
		}
		sr.scanFields(head, false)
	}
	for _, child := range p.Children {
		if err := sr.scanPart(child, false); err != nil {
			return err
		}
	}
	if len(p.Children) > 0 || !isText(p) {
		return nil
	}
	return sr.scanner.Scan(sr.reader.Text(sr.File.Source(), p, sr.crlf))
}

// isText reports whether a part is readable text. Attachments of other types are not searched.
func isText(p *message.Part) bool {
	return strings.EqualFold(p.Type, "text") || strings.EqualFold(p.Type, "message")
}
