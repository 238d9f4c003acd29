package imap

import (
	"slices"
	"strings"

	"maildird/maildir/message"
)

// structure is all that BODY and BODYSTRUCTURE tell of a message.
type structure struct {
	root *message.Part
	// envelopes are those of the embedded messages.
	envelopes map[*message.Part]*message.Envelope
	room      int64 // octets of headers that may still be read for them
}

// maxEmbedded bounds the headers of embedded messages that are read for their
// envelopes; those beyond have empty ones.
const maxEmbedded = 4 << 20

// readStructure reads what is needed of a message and of those embedded in it.
func readStructure(mf *mailFile) (structure, error) {
	root, err := mf.structure()
	if err != nil {
		return structure{}, err
	}
	st := structure{root: root, room: maxEmbedded}
	return st, st.readEnvelopes(mf, root)
}

func (st *structure) readEnvelopes(mf *mailFile, p *message.Part) error {
	if inner := embedded(p); inner != nil {
		head, err := message.Header(mf.src, inner, min(maxHeader, st.room))
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
		if err := st.readEnvelopes(mf, child); err != nil {
			return err
		}
	}
	return nil
}

// write writes the structure (RFC 9051 section 7.5.2), with the extension data
// for BODYSTRUCTURE and without for BODY.
func (st *structure) write(w *writer, extended bool) { st.part(w, st.root, extended) }

func (st *structure) part(w *writer, p *message.Part, extended bool) {
	w.Byte('(')
	if p.Multipart() {
		st.multipart(w, p, extended)
	} else {
		st.single(w, p, extended)
	}
	w.Byte(')')
}

func (st *structure) multipart(w *writer, p *message.Part, extended bool) {
	for _, child := range p.Children {
		st.part(w, child, extended)
	}
	if len(p.Children) == 0 {
		w.emptyPart(extended)
	}
	w.SP()
	w.Str(p.Subtype)
	if extended {
		w.SP()
		w.params(p.Params)
		w.bodyExtension(p)
	}
}

// emptyPart stands in where the grammar wants a part and the message has none.
func (w *writer) emptyPart(extended bool) {
	w.Raw(`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`)
	if extended {
		w.Raw(" NIL NIL NIL NIL")
	}
	w.Byte(')')
}

func (st *structure) single(w *writer, p *message.Part, extended bool) {
	w.Str(p.Type)
	w.SP()
	w.Str(p.Subtype)
	w.SP()
	w.params(typeParams(p))
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
	if p.Message() {
		st.embedded(w, p, extended)
	}
	if p.Message() || isTextType(p) {
		w.SP()
		w.Number(uint64(p.Lines))
	}
	if extended {
		w.SP()
		w.NString(p.MD5, p.MD5 != "")
		w.bodyExtension(p)
	}
}

func isTextType(p *message.Part) bool { return strings.EqualFold(p.Type, "text") }

// typeParams returns the parameters of a part's type, for text with the charset
// that it has if it does not say (RFC 2046 section 4.1.2), as Dovecot does.
func typeParams(p *message.Part) []message.Param {
	isCharset := func(q message.Param) bool { return strings.EqualFold(q.Name, "charset") }
	if !isTextType(p) || slices.ContainsFunc(p.Params, isCharset) {
		return p.Params
	}
	return append(slices.Clip(p.Params), message.Param{Name: "charset", Value: "us-ascii"})
}

// embedded writes the envelope and the structure of the message in a part. If
// it has none, because it ends with its header or lies too deep, an empty one.
func (st *structure) embedded(w *writer, p *message.Part, extended bool) {
	w.SP()
	inner := embedded(p)
	if inner == nil {
		w.envelope(&message.Envelope{})
		w.SP()
		w.emptyPart(extended)
		return
	}
	w.envelope(st.envelopes[p])
	w.SP()
	st.part(w, inner, extended)
}

// bodyExtension writes the extension data that all kinds of parts have.
func (w *writer) bodyExtension(p *message.Part) {
	w.SP()
	if p.Disposition == "" {
		w.Raw("NIL")
	} else {
		w.Byte('(')
		w.Str(p.Disposition)
		w.SP()
		w.params(p.DispositionParams)
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
func (w *writer) params(params []message.Param) {
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
