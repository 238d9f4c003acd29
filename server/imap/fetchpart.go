package imap

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/message"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
)

// servedPart is a section of a message, ready to be written.
type servedPart struct {
	*syntax.Section
	absent bool // the response leaves it out
	none   bool // the message has no such part: NIL

	mem    []byte         // the octets, if in memory
	in     *message.Part  // for BINARY: the part whose decoded octets these are
	binary message.Binary // for BINARY: the decoding of it
	from   message.Pos    // the start of the section in the file, if not in memory
	to     message.Pos    // the end of the section in the file
	skip   int64          // octets of the section before the first one to write
	n      int64          // octets to write; for BINARY.SIZE, the number
}

func (sp servedPart) present() bool { return !sp.absent }

// resolve finds a section in this message.
func (f *fetcher) resolve(p *syntax.Section, mf *mailfile.File) (sp servedPart, err error) {
	sp.Section = p
	switch {
	case p.Kind != syntax.BodySection:
		err = sp.resolveBinary(mf)
	case p.Fields != nil:
		err = f.resolveFields(&sp, mf)
	case len(p.Part) == 0:
		err = sp.resolveWhole(mf)
	default:
		err = sp.resolvePart(mf)
	}
	if err == nil && !sp.none && p.Partial != nil {
		sp.skip = min(p.Partial.Offset, sp.n)
		sp.n = min(p.Partial.Size, sp.n-sp.skip)
		if sp.mem != nil {
			sp.mem = sp.mem[sp.skip : sp.skip+sp.n]
		}
	}
	if err == nil && !sp.none && sp.n > maxLiteral && !f.s.rev2 && p.Kind != syntax.BinarySizeSection {
		sp.absent, f.omissions.big = true, true
	}
	return sp, err
}

// maxLiteral is the size of the longest literal of IMAP4rev1, where numbers have 32 bits;
// in IMAP4rev2 they have 63 (RFC 9051 appendix E). A client that misread the length would
// take mail for responses.
const maxLiteral = 1<<32 - 1

// inFile sets the section to the octets between two positions in the file.
func (sp *servedPart) inFile(from, to message.Pos) {
	sp.from, sp.to, sp.n = from, to, to.Virt-from.Virt
}

// resolveWhole resolves BODY[], BODY[HEADER] and BODY[TEXT], which need no parsing.
func (sp *servedPart) resolveWhole(mf *mailfile.File) error {
	if sp.Specifier == imap.PartSpecifierHeader {
		if b, ok := mf.CachedHeader(); ok {
			sp.mem, sp.n = b, int64(len(b))
			return nil
		}
	}
	var from, to message.Pos
	var err error
	if sp.Specifier != imap.PartSpecifierNone {
		if to, err = mf.BodyBegin(); err != nil {
			return err
		}
	}
	if sp.Specifier != imap.PartSpecifierHeader {
		if sp.Specifier == imap.PartSpecifierText {
			from = to
		}
		if sp.wellWithin(from, mf) {
			to = message.Pos{Phys: mf.Octets(), Virt: from.Virt + mf.Octets() - from.Phys}
		} else if to, err = mf.End(); err != nil {
			return err
		}
	}
	sp.inFile(from, to)
	return nil
}

// wellWithin reports whether a partial section that begins at from certainly ends before the
// file does, whatever its line ends are: conversion to CRLF never makes a text shorter. If so,
// nothing must be counted.
func (sp *servedPart) wellWithin(from message.Pos, mf *mailfile.File) bool {
	p := sp.Partial
	if p == nil || mf.Open(true) != nil || mf.Text() != nil { // a later call returns the error
		return false
	}
	rest := mf.Octets() - from.Phys
	return p.Offset <= rest && p.Size <= rest-p.Offset
}

// resolvePart resolves sections with a part number.
func (sp *servedPart) resolvePart(mf *mailfile.File) error {
	p, err := mf.Part(sp.Part)
	if err != nil {
		return err
	}
	if p != nil && (sp.Specifier == imap.PartSpecifierHeader || sp.Specifier == imap.PartSpecifierText) {
		p = p.Embedded()
	}
	if p == nil {
		sp.none = true
		return nil
	}
	switch sp.Specifier {
	case imap.PartSpecifierHeader, imap.PartSpecifierMIME:
		sp.inFile(p.Start, p.Body)
	default:
		sp.inFile(p.Body, p.End)
	}
	return nil
}

// maxArena is how many octets of header fields are held in memory for the response of a message. A
// FETCH may ask for hundreds of sections that are each a megabyte.
const maxArena = 1 << 20

// resolveFields resolves HEADER.FIELDS and HEADER.FIELDS.NOT. What exceeds maxArena is found once
// more when it is written.
func (f *fetcher) resolveFields(sp *servedPart, mf *mailfile.File) error {
	head, err := sp.header(mf)
	if err != nil || sp.none {
		return err
	}
	from := len(f.arena)
	f.arena = sp.Fields.Append(f.arena, head)
	sp.n = int64(len(f.arena) - from)
	if len(f.arena) > maxArena {
		f.arena = f.arena[:from]
		return nil
	}
	sp.mem = f.arena[from:len(f.arena):len(f.arena)]
	return nil
}

// copyFields copies the octets of HEADER.FIELDS or HEADER.FIELDS.NOT to w.
func (sp *servedPart) copyFields(w io.Writer, mf *mailfile.File) error {
	head, err := sp.header(mf)
	if err != nil {
		return err
	}
	fields := sp.Fields.Append(nil, head)
	if int64(len(fields)) < sp.skip+sp.n { // another program has changed the file
		return syntax.ErrShortLiteral
	}
	_, err = w.Write(fields[sp.skip : sp.skip+sp.n])
	return err
}

func (sp *servedPart) header(mf *mailfile.File) ([]byte, error) {
	if len(sp.Part) == 0 {
		return mf.Header()
	}
	p, err := mf.Part(sp.Part)
	if err != nil {
		return nil, err
	}
	if p != nil {
		p = p.Embedded()
	}
	if p == nil {
		sp.none = true
		return nil, nil
	}
	return mf.PartHeader(p)
}

// resolveBinary resolves BINARY and BINARY.SIZE (RFC 3516).
func (sp *servedPart) resolveBinary(mf *mailfile.File) (err error) {
	if len(sp.Part) > 0 {
		if sp.in, err = mf.Part(sp.Part); err != nil {
			return err
		}
		if sp.in == nil {
			sp.none = true
			return nil
		}
	}
	sp.binary, err = mf.Decoded(sp.Part, sp.in)
	sp.n = sp.binary.Size
	return err
}

// write writes the section as a literal, or what replaces it.
func (sp *servedPart) write(w *writer, mf *mailfile.File) {
	switch {
	case sp.Kind == syntax.BinarySizeSection:
		w.Number(uint64(sp.n))
		return
	case sp.none:
		w.Raw("NIL")
		return
	case sp.binary.NUL:
		w.Literal8(sp.n)
	default:
		w.Literal(sp.n)
	}
	if !sp.writeText(w, mf.Text()) {
		if err := sp.copyTo(w, mf); err != nil {
			w.Fail(err)
		}
	}
	w.EndLiteral()
}

// copyTo copies the octets of the section to w.
func (sp *servedPart) copyTo(w io.Writer, mf *mailfile.File) (err error) {
	switch {
	case sp.mem != nil:
		_, err = w.Write(sp.mem)
	case sp.n == 0:
	case sp.Fields != nil:
		err = sp.copyFields(w, mf)
	case sp.Kind == syntax.BodySection:
		at := sp.from.Virt + sp.skip
		err = mf.CopyTo(w, sp.from, sp.to, at, at+sp.n)
	case sp.in == nil:
		_, err = message.CopyRaw(w, mf.Source(), mf.Octets(), sp.skip, sp.n)
	default:
		_, err = sp.binary.Copy(w, mf.Source(), sp.in, sp.skip, sp.n)
	}
	return err
}

// writeText writes a complete section of a text in memory directly into the response. It
// returns false if it cannot.
func (sp *servedPart) writeText(w *writer, text []byte) bool {
	if sp.Kind != syntax.BodySection || sp.Fields != nil || sp.mem != nil || sp.n == 0 {
		return false
	}
	if sp.skip > 0 || sp.n < sp.to.Virt-sp.from.Virt || sp.to.Phys > int64(len(text)) || sp.from.Phys > sp.to.Phys {
		return false
	}
	b := text[sp.from.Phys:sp.to.Phys]
	if bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	before := byte(0)
	if sp.from.Phys > 0 {
		before = text[sp.from.Phys-1]
	}
	w.Convert(b, before)
	return true
}
