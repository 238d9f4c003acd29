package search

import (
	"bytes"
	"strings"

	"maildird/maildir/message"
	"maildird/server/imap/casemap"
	"maildird/server/imap/mailfile"
)

// load reads what answers of this cost need.
func (sr *Searcher) load(cost Cost) {
	switch cost {
	case CostHeader:
		sr.scanner.Reset()
		rec, _ := sr.cached.Read(sr.Message)
		sr.File = mailfile.New(sr.View, sr.Message, nil, rec, sr.check)
		if rec.Has() == 0 && sr.plan.test.cost == CostBody {
			sr.failed(sr.File.Open(true)) // all at once
		}
		if sr.err == nil {
			sr.failed(sr.scanHeader())
		}
	case CostBody:
		sr.failed(sr.scanBody())
		sr.noteFound(isFalse)
	}
}

// noteFound takes over what the scanner found, and otherwise for the rest.
func (sr *Searcher) noteFound(otherwise answer) {
	for i, probe := range sr.scanned {
		sr.answers[probe] = otherwise
		if sr.scanner.Found(i) {
			sr.answers[probe] = isTrue
		}
	}
}

// scanHeader answers the probes that are InField, and looks for those InText.
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

// scanFields looks at the fields of a header, which is in CRLF form: for
// probes InText, and for those InField if it is the message's own.
func (sr *Searcher) scanFields(head []byte, own bool) {
	own = own && len(sr.fields) > 0
	if !own && sr.inText == 0 {
		return
	}
	if sr.names != nil { // and nothing is InText
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

// appendField puts a field, or a line that is none, where the probes InText look: all
// fields at once, with what no search string can hold between them.
func (sr *Searcher) appendField(name, value []byte) {
	if name != nil {
		sr.field = append(append(sr.field, name...), ": "...)
	}
	sr.field = append(appendFieldText(sr.field, value, false), 0)
	if hasBlanks(value) { // the search string may be the one or the other
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

// oddlyWritten tells whether addresses may be written otherwise than ENVELOPE has
// them: with comments, quoted characters, or spaces in an address.
func oddlyWritten(value []byte) bool {
	return bytes.ContainsAny(value, "(\\") || bytes.Contains(value, []byte(" @")) || bytes.Contains(value, []byte("@ "))
}

// appendFieldText appends the value of a field on one line, without encoded
// words, and if wanted with one space for any white space.
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

// appendOneSpaced appends text with one space for any white space. Where a long field
// was folded (RFC 5322 section 2.2.3), and whether with a space or a tab, is not what
// people see of it and look for.
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

// hasBlanks tells whether appendOneSpaced changes more than line ends.
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

// scanBody looks through all parts for what was not found in the header.
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

// scanPart looks at a part. Its header counts as text, and not as body (RFC
// 9051 section 6.4.4); that of the message itself was seen.
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

// isText tells whether people read a part. Attachments of other types are not
// searched.
func isText(p *message.Part) bool {
	return strings.EqualFold(p.Type, "text") || strings.EqualFold(p.Type, "message")
}
