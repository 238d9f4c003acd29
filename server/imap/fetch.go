package imap

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/maildir/message"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/syntax"
)

// fetch is FETCH and UID FETCH (RFC 9051 section 6.4.5).
func (s *session) fetch(uid bool) error {
	lx := s.lx
	lx.SP()
	set := lx.NumSet()
	lx.SP()
	items := lx.fetchItems()
	if lx.More() { // RFC 4466
		lx.OptionalList(lx.grammar.fetchParams.once(lx, &items, "FETCH modifier"))
	}
	if err := lx.End(); err != nil {
		return err
	}
	if uid {
		if !s.uidOnly { // a UIDFETCH response begins with the UID
			items.set |= fetchUID
		}
		items.byUID = true
	}
	ranges, uids, err := s.ranges(set, uid)
	if err != nil {
		return err
	}
	s.tellKeywords()
	for _, begin := range items.begin {
		if err := begin(s, set); err != nil {
			return err
		}
	}
	f := &fetcher{s: s, items: &items, need: items.needs(), cached: s.sel.view.Cached()}
	f.kinds, f.file = items.kinds()
	defer f.cached.Close()
	err = f.run(s.sel.view.Chunks(ranges, uids), items.seen() && !s.sel.view.ReadOnly())
	if err != nil {
		return err
	}
	return f.omissions.result()
}

// fetcher serves one FETCH command.
type fetcher struct {
	s      *session
	items  *fetchItems
	need   fetchNeed
	kinds  cache.Kinds // what the cache may contain of the items
	file   bool        // some item needs the file in any case
	cached *mailbox.Cached
	last   *mailfile.Known // remembers the only message of the command; nil if there are several

	omissions omissions

	facts []mailbox.Facts // of the current chunk
	fact  *mailbox.Facts  // of the current message; nil if not looked up
	flags flagTexts
	known fetchTask // reused for messages whose files are not needed

	// Of the current message, prepared before its response begins:
	parts     []servedPart
	date      time.Time
	size      int64
	envelope  func(*syntax.Writer)
	structure func(*syntax.Writer) // BODYSTRUCTURE
	body      func(*syntax.Writer) // BODY
	arena     []byte               // header fields of parts; reused
}

// filtered removes the messages that a modifier excludes.
func (f *fetcher) filtered(msgs []mailbox.Message) []mailbox.Message {
	for _, passes := range f.items.filters {
		msgs = slices.DeleteFunc(msgs, func(m mailbox.Message) bool { return !passes(m) })
	}
	return msgs
}

// setSeen sets \Seen and returns the messages as they are now. If that fails, the texts are
// sent all the same.
func (f *fetcher) setSeen(uids []uint32) map[uint32]mailbox.Message {
	if len(uids) == 0 {
		return nil
	}
	s := f.s
	msgs, err := s.sel.view.Store(s.ctx, uids, mailbox.Add, filename.Seen, nil)
	if err != nil {
		s.log.Warn("cannot set \\Seen", "mailbox", s.sel.name, "error", err)
	}
	s.noteChanged(msgs)
	changed := make(map[uint32]mailbox.Message, len(msgs))
	for _, m := range msgs {
		changed[m.UID] = m
	}
	return changed
}

// respond writes the response for a message. mf is nil if no item needs the file. With flags
// the response includes the flags even if the client did not ask for them, before any text:
// Mail::IMAPClient 3.43 takes what follows a text for part of it.
func (f *fetcher) respond(m mailbox.Message, mf *mailfile.File, flags bool) {
	if err := f.prepare(m, mf); err != nil {
		f.s.noteOmission(&f.omissions, m, err)
		if flags {
			f.s.flagsResponse(m)
		}
		return
	}
	s, w, set := f.s, f.s.w, f.items.set
	if !flags && set == 0 && len(f.items.attrs) == 0 && !slices.ContainsFunc(f.parts, servedPart.present) {
		return
	}
	if flags {
		set |= fetchFlags
	}
	sep := f.begin(m, set)
	if flags {
		s.flagData(f.items, m)
	}
	item := func(name string) {
		w.Byte(sep)
		w.Raw(name)
		w.SP()
		sep = ' '
	}
	if set&fetchEnvelope != 0 {
		item("ENVELOPE")
		f.envelope(&w.Writer)
	}
	if set&fetchBodyStructure != 0 {
		item("BODYSTRUCTURE")
		f.structure(&w.Writer)
	}
	if set&fetchBody != 0 {
		item("BODY")
		f.body(&w.Writer)
	}
	for i := range f.parts {
		if p := &f.parts[i]; !p.absent {
			item(p.Name)
			p.write(w, mf)
		}
	}
	for _, a := range f.items.attrs {
		item(a.name())
		a.write(w)
	}
	w.Raw(")\r\n")
}

// begin writes the response up to the small items, which are those in set. sep is the separator
// before the next item.
func (f *fetcher) begin(m mailbox.Message, set fetchSet) (sep byte) {
	const most = 160 // octets, without the flags
	w := f.s.w
	b := append(w.Reserve(most), "* "...)
	if f.s.uidOnly {
		b = append(strconv.AppendUint(b, uint64(m.UID), 10), " UIDFETCH "...)
	} else {
		b = append(strconv.AppendUint(b, uint64(m.Seq), 10), " FETCH "...)
	}
	sep = '('
	if set&fetchUID != 0 {
		b = append(append(b, sep), "UID "...)
		b = strconv.AppendUint(b, uint64(m.UID), 10)
		sep = ' '
	}
	if set&fetchFlags != 0 {
		w.Put(append(append(b, sep), "FLAGS "...))
		w.RawBytes(f.flags.of(f.s, m))
		b = w.Reserve(most)
		sep = ' '
	}
	if set&fetchDate != 0 {
		b = append(append(b, sep), "INTERNALDATE "...)
		b = syntax.AppendDateTime(b, f.date)
		sep = ' '
	}
	if set&fetchSize != 0 {
		b = append(append(b, sep), "RFC822.SIZE "...)
		b = strconv.AppendInt(b, f.size, 10)
		sep = ' '
	}
	w.Put(b)
	return sep
}

// prepare collects all that the response for a message needs, so that after its beginning only
// copying from the file can fail.
func (f *fetcher) prepare(m mailbox.Message, mf *mailfile.File) (err error) {
	set := f.items.set
	f.parts, f.arena = f.parts[:0], f.arena[:0]
	if set&fetchEnvelope != 0 {
		if f.envelope, err = mf.Rendering(cache.Envelope); err != nil {
			return err
		}
	}
	if set&fetchBodyStructure != 0 {
		if f.structure, err = mf.Rendering(cache.BodyStructure); err != nil {
			return err
		}
	}
	if set&fetchBody != 0 {
		if f.body, err = mf.Rendering(cache.Body); err != nil {
			return err
		}
	}
	for i := range f.items.parts {
		p, err := f.resolve(&f.items.parts[i], mf)
		if errors.Is(err, message.ErrEncoding) {
			p.absent, f.omissions.decoded = true, true
			err = nil
		}
		if err != nil {
			return err
		}
		f.parts = append(f.parts, p)
	}
	if set&fetchDate != 0 {
		if f.date, err = f.dateOf(m, mf); err != nil {
			return err
		}
	}
	if set&fetchSize != 0 {
		if f.size, err = f.sizeOf(m, mf); err != nil {
			return err
		}
	}
	for _, a := range f.items.attrs {
		if err := a.prepare(f.s, m, mf); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetcher) dateOf(m mailbox.Message, mf *mailfile.File) (time.Time, error) {
	if mf != nil && mf.Opened() {
		return mf.Mtime(), nil
	}
	if f.fact != nil {
		return f.fact.Date(), nil
	}
	return f.s.sel.view.Date(m)
}

// sizeOf returns RFC822.SIZE: the counted size if that is known, or else the size in the file
// name unless that is impossible.
func (f *fetcher) sizeOf(m mailbox.Message, mf *mailfile.File) (int64, error) {
	switch {
	case mf != nil && mf.Opened():
		return mf.Size()
	case f.fact != nil:
		return f.fact.Size, nil
	}
	return f.s.sel.view.Size(m, f.s.interrupted)
}
