package render

import (
	"io"
	"slices"
	"strings"

	"maildird/maildir/message"
	"maildird/server/imap/syntax"
)

// Structure is what BODY and BODYSTRUCTURE return of a message. It is immutable once
// it has been read.
type Structure struct {
	root *message.Part
	// envelopes are the envelopes of embedded messages.
	envelopes map[*message.Part]*message.Envelope
	global    bool  // some part is of type message/global
	header    int64 // maximum octets of a header to read
	room      int64 // octets of headers that may still be read
}

// ForAll reports whether the output of Write, if it is ASCII, is the same for all clients.
func (st *Structure) ForAll() bool { return !st.global }

// maxEmbedded is the maximum size in octets of all headers of embedded messages that are read
// for envelopes. Messages beyond it get empty envelopes.
const maxEmbedded = 4 << 20

// ReadStructure reads the headers of embedded messages, at most header octets of each. src is
// the message, and root its MIME structure.
func ReadStructure(src io.ReaderAt, root *message.Part, header int64) (*Structure, error) {
	st := &Structure{root: root, header: header, room: maxEmbedded}
	return st, st.readEnvelopes(src, root)
}

func (st *Structure) readEnvelopes(src io.ReaderAt, p *message.Part) error {
	st.global = st.global || isGlobal(p)
	if inner := p.Embedded(); inner != nil {
		head, err := message.Header(src, inner, min(st.header, st.room))
		if err != nil {
			return err
		}
		st.room -= int64(len(head))
		if st.envelopes == nil {
			st.envelopes = map[*message.Part]*message.Envelope{}
		}
		st.envelopes[p] = message.ParseEnvelope(head)
	}
	for _, child := range p.Children {
		if err := st.readEnvelopes(src, child); err != nil {
			return err
		}
	}
	return nil
}

// Write writes the structure (RFC 9051 section 7.5.2), for BODYSTRUCTURE with the extension
// data, for BODY without.
func (st *Structure) Write(w *syntax.Writer, extended bool) { st.part(w, st.root, extended) }

func (st *Structure) part(w *syntax.Writer, p *message.Part, extended bool) {
	w.Byte('(')
	if p.Multipart() {
		st.multipart(w, p, extended)
	} else {
		st.single(w, p, extended)
	}
	w.Byte(')')
}

func (st *Structure) multipart(w *syntax.Writer, p *message.Part, extended bool) {
	for _, child := range p.Children {
		st.part(w, child, extended)
	}
	if len(p.Children) == 0 {
		emptyPart(w, extended)
	}
	w.SP()
	w.Str(p.Subtype)
	if extended {
		w.SP()
		params(w, p.Params)
		bodyExtension(w, p)
	}
}

// emptyPart writes a part where the grammar requires one and the message has none.
func emptyPart(w *syntax.Writer, extended bool) {
	w.Raw(`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`)
	if extended {
		w.Raw(" NIL NIL NIL NIL")
	}
	w.Byte(')')
}

func (st *Structure) single(w *syntax.Writer, p *message.Part, extended bool) {
	w.Str(p.Type)
	w.SP()
	w.Str(p.Subtype)
	w.SP()
	params(w, typeParams(p))
	w.SP()
	w.NString(p.ID, p.ID != "")
	w.SP()
	w.NString(p.Description, p.Description != "")
	w.SP()
	if p.Encoding == "" {
		w.Raw(`"7bit"`)
	} else {
		w.Str(p.Encoding)
	}
	w.SP()
	w.Number(uint64(p.End.Virt - p.Body.Virt))
	// To IMAP4rev1 clients, MESSAGE/RFC822 is the only type with envelope and structure (RFC
	// 3501 section 9, media-message). JavaMail 1.6.5 cannot parse a structure in which
	// another type has them.
	opens := p.Message() && (w.Rev2 || !isGlobal(p))
	if opens {
		st.embedded(w, p, extended)
	}
	if opens || isTextType(p) {
		w.SP()
		w.Number(uint64(p.Lines))
	}
	if extended {
		w.SP()
		w.NString(p.MD5, p.MD5 != "")
		bodyExtension(w, p)
	}
}

func isGlobal(p *message.Part) bool { return p.Message() && strings.EqualFold(p.Subtype, "global") }

func isTextType(p *message.Part) bool { return strings.EqualFold(p.Type, "text") }

// typeParams returns the parameters of a part's type. For text without a charset it adds the
// default one (RFC 2046 section 4.1.2), as Dovecot does.
func typeParams(p *message.Part) []message.Param {
	isCharset := func(q message.Param) bool { return strings.EqualFold(strings.TrimSuffix(q.Name, "*"), "charset") }
	if !isTextType(p) || slices.ContainsFunc(p.Params, isCharset) {
		return p.Params
	}
	return append(slices.Clip(p.Params), message.Param{Name: "charset", Value: "us-ascii"})
}

// embedded writes the envelope and the structure of the message in a part. They are empty if
// there is no message, because the part ends with its header or is nested too deeply.
func (st *Structure) embedded(w *syntax.Writer, p *message.Part, extended bool) {
	w.SP()
	inner := p.Embedded()
	if inner == nil {
		Envelope(w, &message.Envelope{})
		w.SP()
		emptyPart(w, extended)
		return
	}
	Envelope(w, st.envelopes[p])
	w.SP()
	st.part(w, inner, extended)
}

// bodyExtension writes the extension data that all types of parts have.
func bodyExtension(w *syntax.Writer, p *message.Part) {
	w.SP()
	if p.Disposition == "" {
		w.Raw("NIL")
	} else {
		w.Byte('(')
		w.Str(p.Disposition)
		w.SP()
		params(w, p.DispositionParams)
		w.Byte(')')
	}
	w.SP()
	if len(p.Language) == 0 {
		w.Raw("NIL")
	} else {
		sep := byte('(')
		for _, lang := range p.Language {
			w.Byte(sep)
			w.Str(lang)
			sep = ' '
		}
		w.Byte(')')
	}
	w.SP()
	w.NString(p.Location, p.Location != "")
}

// params writes a list of parameters, NIL if it is empty.
func params(w *syntax.Writer, params []message.Param) {
	if len(params) == 0 {
		w.Raw("NIL")
		return
	}
	sep := byte('(')
	for _, p := range params {
		w.Byte(sep)
		w.Str(p.Name)
		w.SP()
		w.Str(p.Value)
		sep = ' '
	}
	w.Byte(')')
}
