package imap

import (
	"iter"
	"slices"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
)

// fetchChunk is the number of messages that are looked up together.
const fetchChunk = 128

// run serves the messages in order. If there are several files to read and a processor is free,
// a helper reads them ahead. With seen it sets \Seen.
func (f *fetcher) run(chunks iter.Seq[[]mailbox.Message], seen bool) error {
	q := &fetchQueue{f: f, seen: seen}
	defer q.close()
	n := 0
	for chunk := range chunks {
		chunk = f.filtered(chunk)
		n += len(chunk)
		f.look(chunk)
		serve := q.add
		if !seen && f.knows(chunk) {
			if err := q.drain(); err != nil {
				return err
			}
			serve = f.serveKnown
		}
		if err := serve(chunk); err != nil {
			return err
		}
	}
	if n == 1 {
		f.last = &f.s.sel.last
	}
	return q.drain()
}

// look looks up the known facts of a chunk of messages.
func (f *fetcher) look(chunk []mailbox.Message) {
	f.facts = slices.Grow(f.facts[:0], len(chunk))[:len(chunk)]
	if f.kinds != 0 || f.items.set&(fetchDate|fetchSize) != 0 {
		f.s.sel.view.Facts(chunk, f.items.set&fetchSize != 0, f.facts)
	}
}

// knows reports whether no message of a chunk needs its file.
func (f *fetcher) knows(chunk []mailbox.Message) bool {
	for i := range chunk {
		if f.needsFile(&f.facts[i]) || f.items.set&fetchDate != 0 && !f.facts[i].Dated {
			return false
		}
	}
	return true
}

// serveKnown serves messages whose files are not needed.
func (f *fetcher) serveKnown(chunk []mailbox.Message) error {
	defer func() { f.fact = nil }()
	f.flags.forget()
	for i, m := range chunk {
		f.fact = &f.facts[i]
		if f.need == needNothing {
			f.respond(m, nil, false)
			continue
		}
		if i%fetchBatch == 0 {
			if err := f.s.interrupted(); err != nil {
				return err
			}
		}
		f.known = fetchTask{m: m}
		f.serve(&f.known, false)
		f.known.close()
	}
	return f.s.interrupted()
}

// serve writes the response for a message. isNew means that \Seen was just set.
func (f *fetcher) serve(t *fetchTask, isNew bool) {
	if t.mf == nil && t.err == nil && (t.read || f.need != needNothing) {
		if t.read {
			f.read(t, f.cached, f.s.interrupted)
		} else {
			f.recall(t)
		}
	}
	if t.mf != nil && t.mf.Opened() && t.mf.Text() == nil {
		// Obtain what the cache lacks of a long message, one message at a time.
		if err := t.mf.Provide(f.kinds); err != nil {
			t.fail(err)
		}
	}
	if t.err != nil {
		f.s.noteOmission(&f.omissions, t.m, t.err)
		if isNew {
			f.s.flagsResponse(t.m)
		}
		return
	}
	f.respond(t.m, t.mf, isNew)
	if t.mf != nil {
		t.mf.Remember()
	}
}

// needsFile reports whether the response for a message needs its file.
func (f *fetcher) needsFile(known *mailbox.Facts) bool {
	return f.file || f.kinds != 0 && !covers(known.Has, f.kinds) || f.items.set&fetchSize != 0 && known.Size < 0
}

// needsSize reports whether the octets of a message must be counted.
func (f *fetcher) needsSize(m mailbox.Message) bool {
	if f.items.set&fetchSize == 0 {
		return false
	}
	_, known := f.s.sel.view.KnownSize(m)
	return !known
}

// recall loads from the cache a message whose file is not needed. The result is valid until
// recall is called for the next message.
func (f *fetcher) recall(t *fetchTask) {
	rec, _ := f.cached.Read(t.m)
	t.mf = mailfile.New(f.s.sel.view, t.m, nil, rec, f.s.interrupted)
	if !covers(rec.Has(), f.kinds) { // the cache record could not be read
		f.load(t)
		return
	}
	if err := t.mf.Provide(f.kinds); err != nil {
		t.fail(err)
	}
}

// read reads a message from its file, reusing what the cache has of it. check
// is passed to mailfile.New.
func (f *fetcher) read(t *fetchTask, cached *mailbox.Cached, check func() error) {
	var rec cache.Record
	if f.s.sel.view.Kept(t.m) != 0 {
		rec, _ = cached.Read(t.m)
	}
	t.mf = mailfile.New(f.s.sel.view, t.m, f.last, rec, check)
	t.mf.Own() // more records are read before the response is written
	f.load(t)
}

// load opens the file of a message, reads its beginning, and renders what is the same for all
// sessions. Small messages are added to the cache right away.
func (f *fetcher) load(t *fetchTask) {
	err := t.mf.Open(f.need == needBody || f.needsSize(t.m))
	if err == nil && t.mf.Text() != nil {
		if err = t.mf.Provide(f.kinds); err == nil {
			t.mf.Remember()
		}
	}
	if err != nil {
		t.fail(err)
	}
}
