package imap

import (
	"bytes"

	"maildird/maildir/cache"
	"maildird/maildir/message"
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
	r.w = writer{dst: &r.out}
	f(&r.w)
	if r.w.flush() != nil || !isASCII(r.out.Bytes()) {
		return nil
	}
	return r.out.Bytes()
}

func isASCII(b []byte) bool { return asciiRun(b) == len(b) }

// envelope writes the message's ENVELOPE.
func (mf *mailFile) envelope() (func(*writer), error) {
	if b, ok := mf.rec.Get(cache.Envelope); ok {
		return func(w *writer) { w.rawBytes(b) }, nil
	}
	head, err := mf.header()
	if err != nil {
		return nil, err
	}
	e := message.ParseEnvelope(head)
	return func(w *writer) { w.envelope(e) }, nil
}

// bodyStructure writes the message's BODYSTRUCTURE, or its BODY.
func (mf *mailFile) bodyStructure(extended bool) (func(*writer), error) {
	kind := cache.Body
	if extended {
		kind = cache.BodyStructure
	}
	if b, ok := mf.rec.Get(kind); ok {
		return func(w *writer) { w.rawBytes(b) }, nil
	}
	st, err := readStructure(mf)
	if err != nil {
		return nil, err
	}
	return func(w *writer) { st.write(w, extended) }, nil
}

// previewText returns the message's PREVIEW.
func (mf *mailFile) previewText() (string, error) {
	if b, ok := mf.rec.Get(cache.Preview); ok {
		return string(b), nil
	}
	if !mf.hasPreview {
		root, err := mf.structure()
		if err != nil {
			return "", err
		}
		if mf.preview, err = message.Preview(mf.src, root); err != nil {
			return "", err
		}
		mf.hasPreview = true
	}
	return mf.preview, nil
}

// remember gives the cache what it lacks of an open file and what costs little
// now: of a small one everything, of others what was read. Errors are those of
// reading, and come up where somebody needs what cannot be read.
func (mf *mailFile) remember() {
	if !mf.keep || mf.File == nil {
		return
	}
	mf.keep = false
	if mf.view.Kept(mf.m)&cache.Complete.Set() != 0 && !mf.hasPreview {
		return
	}
	rec := cache.Record{Size: mf.Size, Mtime: mf.Mtime, Virtual: -1}
	var b []byte // all renderings, one after the other
	add := func(kind cache.Kind, f func(*writer)) {
		from := len(b)
		if b = append(b, mf.room.render.render(f)...); len(b) > from {
			rec.Set(kind, b[from:len(b):len(b)])
		}
	}
	if head, err := mf.header(); err == nil {
		if int64(len(head)) == mf.known.body.Virt {
			rec.Set(cache.Header, head)
		}
		add(cache.Envelope, func(w *writer) { w.envelope(message.ParseEnvelope(head)) })
	}
	if mf.text != nil || mf.known.root != nil {
		if st, err := readStructure(mf); err == nil {
			add(cache.BodyStructure, func(w *writer) { st.write(w, true) })
			add(cache.Body, func(w *writer) { st.write(w, false) })
			rec.Set(cache.Parts, message.AppendPart(nil, st.root))
			rec.Set(cache.Complete, nil)
		}
	}
	if mf.known.virtual > 0 || mf.Size == 0 {
		rec.Virtual = mf.known.virtual
	}
	if mf.hasPreview {
		rec.Set(cache.Preview, []byte(mf.preview))
	}
	mf.view.Keep(mf.m, &rec)
	mf.rec = rec
}
