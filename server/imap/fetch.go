package imap

import (
	"errors"
	"iter"
	"slices"
	"time"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/maildir/message"
)

func runFetch(s *session) error    { return s.fetch(false) }
func runUIDFetch(s *session) error { return s.fetch(true) }

// fetch is FETCH and UID FETCH (RFC 9051 section 6.4.5).
func (s *session) fetch(uid bool) error {
	lx := s.lx
	lx.sp()
	set := lx.seqSet()
	lx.sp()
	items := lx.fetchItems()
	if lx.more() { // RFC 4466
		lx.list(func() { lx.grammar.fetchParams.take(lx, &items, "FETCH modifier") })
	}
	if err := lx.end(); err != nil {
		return err
	}
	if uid {
		if !s.uidOnly { // the response begins with it
			items.set |= fetchUID
		}
		items.byUID = true
	}
	msgs, err := s.messages(set, uid)
	if err != nil {
		return err
	}
	s.tellKeywords()
	for _, begin := range items.begin {
		if err := begin(s, set); err != nil {
			return err
		}
	}
	f := &fetcher{s: s, items: &items, need: items.needs()}
	msgs = f.filtered(msgs)
	if items.seen() && !s.sel.view.ReadOnly() {
		err = f.runSeen(msgs)
	} else {
		err = f.run(msgs)
	}
	if err != nil {
		return err
	}
	return f.lacking.result()
}

// fetcher serves one FETCH.
type fetcher struct {
	s     *session
	items *fetchItems
	need  fetchNeed

	lacking lacking

	// What is made ready of one message before its response begins.
	parts     []servedPart
	date      time.Time
	size      int64
	envelope  *message.Envelope
	structure structure
	head      []byte // kept for its room
	arena     []byte // header fields of parts, kept for its room
}

// filtered leaves out the messages that a modifier does not want.
func (f *fetcher) filtered(msgs iter.Seq[mailbox.Message]) iter.Seq[mailbox.Message] {
	if len(f.items.filters) == 0 {
		return msgs
	}
	return func(yield func(mailbox.Message) bool) {
		for m := range msgs {
			wanted := true
			for _, passes := range f.items.filters {
				wanted = wanted && passes(m)
			}
			if wanted && !yield(m) {
				return
			}
		}
	}
}

// run serves messages as they are.
func (f *fetcher) run(msgs iter.Seq[mailbox.Message]) error {
	for m := range msgs {
		if err := f.s.interrupted(); err != nil {
			return err
		}
		if err := f.message(m); err != nil {
			return err
		}
	}
	return nil
}

// message serves one message.
func (f *fetcher) message(m mailbox.Message) error {
	if f.need == needNothing {
		f.respond(m, nil, false)
		return nil
	}
	mf, err := f.open(m)
	if err != nil {
		f.s.lack(&f.lacking, m, err)
		return nil
	}
	defer f.close(mf)
	f.respond(m, mf, false)
	return f.s.interrupted()
}

func (f *fetcher) open(m mailbox.Message) (*mailFile, error) {
	return openMail(f.s.sel.view, m, &f.s.sel.last, f.head, f.need == needBody)
}

func (f *fetcher) close(mf *mailFile) {
	f.head = mf.head
	mf.close()
}

// seenBatch is how many messages are opened before \Seen is set on those that
// could be, all at once.
const seenBatch = 16

// runSeen serves messages and sets \Seen on them. The flag is set first, so
// that the response that has the text has the flags too.
func (f *fetcher) runSeen(msgs iter.Seq[mailbox.Message]) error {
	batch := make([]mailbox.Message, 0, seenBatch)
	for m := range msgs {
		if batch = append(batch, m); len(batch) < seenBatch {
			continue
		}
		if err := f.serveSeen(batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return f.serveSeen(batch)
}

func (f *fetcher) serveSeen(batch []mailbox.Message) error {
	s := f.s
	if err := s.interrupted(); err != nil {
		return err
	}
	files := make([]*mailFile, len(batch))
	defer func() {
		for _, mf := range files {
			if mf != nil {
				mf.close()
			}
		}
	}()
	var unseen []uint32
	for i, m := range batch {
		known := &s.sel.last
		if len(batch) > 1 {
			known = &knownFile{}
		}
		mf, err := openMail(s.sel.view, m, known, nil, f.need == needBody)
		if err != nil {
			s.lack(&f.lacking, m, err)
			continue
		}
		files[i] = mf
		if m.Flags&filename.Seen == 0 {
			unseen = append(unseen, m.UID)
		}
	}
	changed := f.setSeen(unseen)
	for i, m := range batch {
		if files[i] == nil {
			continue
		}
		now, seen := changed[m.UID]
		if seen {
			m = now
		}
		f.respond(m, files[i], seen)
		if err := s.interrupted(); err != nil {
			return err
		}
	}
	return nil
}

// setSeen sets \Seen and returns the messages that have it now. Where it
// cannot be set the text is served all the same.
func (f *fetcher) setSeen(uids []uint32) map[uint32]mailbox.Message {
	if len(uids) == 0 {
		return nil
	}
	s := f.s
	msgs, err := s.sel.view.Store(s.ctx, uids, mailbox.Add, filename.Seen, nil)
	if err != nil {
		s.log.Warn("cannot set \\Seen", "mailbox", s.sel.name, "error", err)
	}
	changed := make(map[uint32]mailbox.Message, len(msgs))
	for _, m := range msgs {
		changed[m.UID] = m
	}
	return changed
}

// respond writes the response for one message; mf is nil if no item needs the
// file. With flags it tells the flags, asked for or not.
func (f *fetcher) respond(m mailbox.Message, mf *mailFile, flags bool) {
	if err := f.prepare(m, mf); err != nil {
		f.s.lack(&f.lacking, m, err)
		if flags {
			f.s.flagsResponse(m)
		}
		return
	}
	s, w, set := f.s, f.s.w, f.items.set
	if !flags && set == 0 && len(f.items.attrs) == 0 && !slices.ContainsFunc(f.parts, servedPart.present) {
		return
	}
	s.fetchResponse(m)
	sep := byte('(')
	item := func(name string) {
		w.byte(sep)
		w.raw(name)
		w.sp()
		sep = ' '
	}
	if set&fetchUID != 0 {
		item("UID")
		w.num(uint64(m.UID))
	}
	if set&fetchFlags != 0 {
		item("FLAGS")
		s.flags(m)
	}
	if set&fetchDate != 0 {
		item("INTERNALDATE")
		w.dateTime(f.date)
	}
	if set&fetchSize != 0 {
		item("RFC822.SIZE")
		w.num(uint64(f.size))
	}
	if set&fetchEnvelope != 0 {
		item("ENVELOPE")
		w.envelope(f.envelope)
	}
	if set&fetchBodyStructure != 0 {
		item("BODYSTRUCTURE")
		f.structure.write(w, true)
	}
	if set&fetchBody != 0 {
		item("BODY")
		f.structure.write(w, false)
	}
	for i := range f.parts {
		if p := &f.parts[i]; !p.absent {
			item(p.name)
			p.write(w, mf)
		}
	}
	for _, a := range f.items.attrs {
		item(a.name())
		a.write(w)
	}
	if flags && set&fetchFlags == 0 {
		item("FLAGS")
		s.flags(m)
	}
	if flags {
		s.flagData(f.items, m)
	}
	w.raw(")\r\n")
}

// prepare gets all that the response for a message needs, so that nothing can
// fail after its beginning but the reading of what is copied from the file.
func (f *fetcher) prepare(m mailbox.Message, mf *mailFile) (err error) {
	set := f.items.set
	f.parts, f.arena = f.parts[:0], f.arena[:0]
	if set&fetchEnvelope != 0 {
		head, _, err := mf.header()
		if err != nil {
			return err
		}
		f.envelope = message.ParseEnvelope(head)
	}
	if set&(fetchBody|fetchBodyStructure) != 0 {
		if f.structure, err = readStructure(mf); err != nil {
			return err
		}
	}
	for i := range f.items.parts {
		p, err := f.resolve(&f.items.parts[i], mf)
		if errors.Is(err, message.ErrEncoding) {
			p.absent, f.lacking.decoded = true, true
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

func (f *fetcher) dateOf(m mailbox.Message, mf *mailFile) (time.Time, error) {
	if mf != nil {
		return mf.Mtime, nil
	}
	return f.s.sel.view.Date(m)
}

// sizeOf returns RFC822.SIZE: as counted if that is known, else as the file
// name says unless that cannot be.
func (f *fetcher) sizeOf(m mailbox.Message, mf *mailFile) (int64, error) {
	view := f.s.sel.view
	if mf == nil {
		return view.Size(m)
	}
	if mf.known.virtual == 0 {
		n, err := view.Size(m)
		if err != nil || n >= mf.Size && n <= 2*mf.Size {
			return n, err
		}
	}
	n, err := mf.virtual()
	if err == nil {
		view.SetSize(m, n)
	}
	return n, err
}

// dateTime writes a date as INTERNALDATE has it.
func (w *writer) dateTime(t time.Time) {
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Unix(0, 0) // the grammar has four digits
	}
	var b [32]byte
	w.rawBytes(t.AppendFormat(b[:0], `"_2-Jan-2006 15:04:05 -0700"`))
}
