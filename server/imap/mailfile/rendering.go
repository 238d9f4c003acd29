package mailfile

import (
	"bytes"
	"unicode/utf8"

	"maildird/maildir/cache"
	"maildird/maildir/message"
	"maildird/server/imap/render"
	"maildird/server/imap/syntax"
)

// The cache holds these renderings for all sessions. It can therefore only hold what is the
// same whether or not a client accepts UTF-8 in quoted strings and knows IMAP4rev2: what is
// pure ASCII, and structures without parts of type message/global. When a rendering changes,
// cache.Format must change, too.

// renderer writes responses to memory.
type renderer struct {
	w   syntax.Writer
	out bytes.Buffer
}

// render returns what f writes, nil if it depends on the session. The result is valid
// until the next call.
func (r *renderer) render(f func(w *syntax.Writer)) []byte {
	r.out.Reset()
	r.w = syntax.Writer{Dest: &r.out}
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

// rendered are the kinds that Provide renders, in this order.
var rendered = [...]cache.Kind{cache.Envelope, cache.BodyStructure, cache.Body}

// Provide reads what the kinds need of the message, and renders those that are the same for all
// sessions, so that Rendering needs no file.
func (f *File) Provide(kinds cache.Kinds) error {
	missing := kinds &^ f.rec.Has()
	if missing&cache.Header.Set() != 0 {
		if _, err := f.Header(); err != nil {
			return err
		}
	}
	if missing&cache.Preview.Set() != 0 {
		if err := f.readPreview(); err != nil {
			return err
		}
	}
	for _, kind := range rendered {
		if missing&kind.Set() == 0 {
			continue
		}
		render, forAll, err := f.renderer(kind)
		if err != nil {
			return err
		}
		if !forAll {
			continue
		}
		if b := f.room.render.render(render); b != nil {
			from := len(f.room.pieces)
			f.room.pieces = append(f.room.pieces, b...)
			f.rec.Set(kind, f.room.pieces[from:])
		}
	}
	return nil
}

// Rendering returns a function that writes a kind. After Provide for this kind, it needs no
// file and cannot fail.
func (f *File) Rendering(kind cache.Kind) (func(*syntax.Writer), error) {
	if b, ok := f.rec.Get(kind); ok {
		return func(w *syntax.Writer) { w.RawBytes(b) }, nil
	}
	render, _, err := f.renderer(kind)
	return render, err
}

// renderer returns a function that renders a kind for any session, and whether the result, if
// it is ASCII, is the same for all.
func (f *File) renderer(kind cache.Kind) (write func(*syntax.Writer), forAll bool, err error) {
	if kind == cache.Envelope {
		head, err := f.Header()
		if err != nil {
			return nil, false, err
		}
		e := message.ParseEnvelope(head)
		return func(w *syntax.Writer) { render.Envelope(w, e) }, true, nil
	}
	root, err := f.Structure()
	if err != nil {
		return nil, false, err
	}
	st, err := render.ReadStructure(f.src, root, maxHeader)
	if err != nil {
		return nil, false, err
	}
	return func(w *syntax.Writer) { st.Write(w, kind == cache.BodyStructure) }, st.ForAll(), nil
}

// readPreview sets the kind Preview, which is text and not rendered.
func (f *File) readPreview() error {
	root, err := f.Structure()
	if err != nil {
		return err
	}
	text, err := message.Preview(f.src, root)
	if err == nil {
		f.rec.Set(cache.Preview, []byte(text))
	}
	return err
}

// Preview returns the PREVIEW text of the message.
func (f *File) Preview() (string, error) {
	err := f.Provide(cache.Preview.Set())
	b, _ := f.rec.Get(cache.Preview)
	return string(b), err
}

// Stamped returns a record without content, for what is derived from the message as it was read
// but kept elsewhere. Remember must be called first.
func (f *File) Stamped() cache.Record {
	return cache.Record{Size: f.rec.Size, Mtime: f.rec.Mtime, Virtual: -1, Source: f.rec.Source}
}

// Remember adds to the cache what it lacks of what was read, and the size of a text in memory,
// which is cheap to count now. A failure to read is ignored here; it is reported when someone
// needs what cannot be read.
func (f *File) Remember() {
	rec, k := &f.rec, f.known
	told := !f.opened || f.told && (rec.Virtual >= 0 || k.virtual == 0)
	if told && rec.Has() == f.cached {
		return
	}
	keeps := f.view.Keeps()
	if f.opened {
		if keeps && f.text != nil {
			_, _ = f.virtual()
		}
		rec.Size, rec.Mtime, rec.Virtual, rec.Source = f.file.Size, f.file.Mtime, -1, f.file.Source
		if k.virtual > 0 || rec.Size == 0 {
			rec.Virtual = k.virtual
		}
		if keeps && k.root != nil && rec.Has()&cache.Parts.Set() == 0 {
			from := len(f.room.pieces)
			f.room.pieces = message.AppendPart(f.room.pieces, k.root)
			rec.Set(cache.Parts, f.room.pieces[from:])
		}
	}
	f.view.Keep(f.m, rec)
	f.cached, f.told = rec.Has(), true
}
