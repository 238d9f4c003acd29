package imap

import (
	"bytes"
	"unicode/utf8"

	"maildird/maildir/cache"
	"maildird/maildir/message"
	"maildird/server/imap/render"
	"maildird/server/imap/syntax"
)

// The cache holds what is here rendered, for all sessions: so only what is the
// same whether a client takes UTF-8 in quoted strings or not. That is what has
// no octet beyond ASCII. When a rendering changes, cache.Format has to.

// renderer writes responses to memory.
type renderer struct {
	w   writer
	out bytes.Buffer
}

// render returns what f writes, nil if it depends on the session. It is good
// until the next call.
func (r *renderer) render(f func(w *writer)) []byte {
	r.out.Reset()
	r.w = writer{syntax.Writer{Dest: &r.out}}
	f(&r.w)
	if r.w.Flush() != nil || !isASCII(r.out.Bytes()) {
		return nil
	}
	return r.out.Bytes()
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// rendered are the kinds that provide makes by rendering, in this order.
var rendered = [...]cache.Kind{cache.Envelope, cache.BodyStructure, cache.Body}

// provide reads what is needed for the kinds of the message, and renders those
// that are the same for all sessions, so that write needs no file.
func (mf *mailFile) provide(kinds cache.Kinds) error {
	missing := kinds &^ mf.rec.Has()
	if missing&cache.Header.Set() != 0 {
		if _, err := mf.header(); err != nil {
			return err
		}
	}
	if missing&cache.Preview.Set() != 0 {
		if err := mf.readPreview(); err != nil {
			return err
		}
	}
	for _, kind := range rendered {
		if missing&kind.Set() == 0 {
			continue
		}
		render, err := mf.renderer(kind)
		if err != nil {
			return err
		}
		if b := mf.room.render.render(render); b != nil {
			from := len(mf.room.pieces)
			mf.room.pieces = append(mf.room.pieces, b...)
			mf.rec.Set(kind, mf.room.pieces[from:])
		}
	}
	return nil
}

// write gives what writes a kind that provide was called for.
func (mf *mailFile) write(kind cache.Kind) (func(*writer), error) {
	if b, ok := mf.rec.Get(kind); ok {
		return func(w *writer) { w.RawBytes(b) }, nil
	}
	return mf.renderer(kind)
}

// renderer gives what renders a kind for any session.
func (mf *mailFile) renderer(kind cache.Kind) (func(*writer), error) {
	if kind == cache.Envelope {
		head, err := mf.header()
		if err != nil {
			return nil, err
		}
		e := message.ParseEnvelope(head)
		return func(w *writer) { render.Envelope(&w.Writer, e) }, nil
	}
	root, err := mf.structure()
	if err != nil {
		return nil, err
	}
	st, err := render.ReadStructure(mf.src, root, maxHeader)
	if err != nil {
		return nil, err
	}
	return func(w *writer) { st.Write(&w.Writer, kind == cache.BodyStructure) }, nil
}

func (mf *mailFile) readPreview() error {
	root, err := mf.structure()
	if err != nil {
		return err
	}
	text, err := message.Preview(mf.src, root)
	if err == nil {
		mf.rec.Set(cache.Preview, []byte(text))
	}
	return err
}

// previewText returns the message's PREVIEW.
func (mf *mailFile) previewText() (string, error) {
	err := mf.provide(cache.Preview.Set())
	b, _ := mf.rec.Get(cache.Preview)
	return string(b), err
}

// remember gives the cache what it lacks of what was read, and the size of a text
// that is in memory, which costs little now. An error is one of reading, and
// comes up where somebody needs what cannot be read.
func (mf *mailFile) remember() {
	rec, k := &mf.rec, mf.known
	told := !mf.opened || mf.told && (rec.Virtual >= 0 || k.virtual == 0)
	if told && rec.Has() == mf.cached {
		return
	}
	keeps := mf.view.Keeps()
	if mf.opened {
		if keeps && mf.text != nil {
			_, _ = mf.virtual()
		}
		rec.Size, rec.Mtime, rec.Virtual = mf.file.Size, mf.file.Mtime, -1
		if k.virtual > 0 || rec.Size == 0 {
			rec.Virtual = k.virtual
		}
		if keeps && k.root != nil && rec.Has()&cache.Parts.Set() == 0 {
			from := len(mf.room.pieces)
			mf.room.pieces = message.AppendPart(mf.room.pieces, k.root)
			rec.Set(cache.Parts, mf.room.pieces[from:])
		}
	}
	mf.view.Keep(mf.m, rec)
	mf.cached, mf.told = rec.Has(), true
}
