package imap

import (
	"errors"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/search"
	"maildird/server/imap/syntax"
)

// condstoreExtension is CONDSTORE (RFC 7162 section 3.1).
func condstoreExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapCondStore},
		enable: []enabler{{name: imap.CapCondStore, on: func(s *session) bool {
			was := s.condstoreNamed
			s.condstoreNamed = true
			return !was
		}, then: (*session).enableModSeqs}},
		selectParams: words[selectRequest]{"CONDSTORE": func(_ *lexer, req *selectRequest) {
			req.opened = append(req.opened, (*session).enableModSeqs)
		}},
		statusItems: []statusItem{{
			name: "HIGHESTMODSEQ",
			begin: func(st *mailboxStatus) (err error) {
				if err := st.s.enableModSeqs(); err != nil {
					return err
				}
				st.modseq, err = st.box.HighestModSeq(st.s.ctx)
				return err
			},
			write: func(st *mailboxStatus) { st.s.w.Number(st.modseq) },
		}},
		fetchItems: words[fetchItems]{"MODSEQ": func(_ *lexer, items *fetchItems) { items.addModSeq() }},
		fetchParams: words[fetchItems]{"CHANGEDSINCE": func(lx *lexer, items *fetchItems) {
			lx.SP()
			since := lx.Number64()
			items.changedSince = &since
			items.addModSeq()
			items.begin = append(items.begin, func(s *session, _ syntax.NumSet) (err error) {
				since, err = s.sel.view.Since(s.ctx, since)
				return err
			})
			items.filters = append(items.filters, func(m mailbox.Message) bool { return m.ModSeq == 0 || m.ModSeq > since })
		}},
		storeParams: words[storeRequest]{"UNCHANGEDSINCE": func(lx *lexer, req *storeRequest) {
			lx.SP()
			since := lx.Number64()
			req.unchangedSince = &since
		}},
		searchKeys: searchWords{"MODSEQ": modSeqKey},
		selected: func(s *session) {
			if s.condstore {
				s.tellHighestModSeq()
			} else {
				s.announceModSeq()
			}
		},
		flagData: (*session).modSeqData,
	}
}

// clientModSeq is what the session knows about the client's copy of HIGHESTMODSEQ of the
// selected mailbox, which the client maintains by the rules of RFC 7162 section 6.
type clientModSeq struct {
	none  bool   // the mailbox has no mod-sequences
	known uint64 // the client's copy at the last tagged response
	// Since then:
	code   uint64   // the last HIGHESTMODSEQ that was sent; 0 for none
	seen   uint64   // the highest MODSEQ of a FETCH response
	untold bool     // VANISHED or EXISTS was sent, which contain no mod-sequence
	gone   []uint32 // UIDs that VANISHED must still be sent for
}

// enableModSeqs enables mod-sequences in responses to the client. If a mailbox is selected, it
// reports HIGHESTMODSEQ the first time (RFC 7162 section 3.1).
func (s *session) enableModSeqs() error {
	if s.condstore {
		return nil
	}
	s.condstore = true
	if s.sel != nil {
		s.tellHighestModSeq()
	}
	return nil
}

// tellHighestModSeq reports the mod-sequence up to which the client knows the selected mailbox,
// or that there are none (RFC 7162 section 3.1.2).
func (s *session) tellHighestModSeq() {
	ok, err := s.sel.view.EnableModSeq(s.ctx)
	s.logNoModSeq(err)
	if s.sel.modseq.none = !ok || err != nil; s.sel.modseq.none {
		s.w.untagged("OK", "NOMODSEQ", "This mailbox does not support mod-sequences.")
		return
	}
	s.w.untagged("OK", s.highestModSeq(s.sel.view.HighestModSeq()), "Highest mod-sequence.")
}

// logNoModSeq logs why there are no mod-sequences, unless the mailbox was just
// removed or replaced.
func (s *session) logNoModSeq(err error) {
	if err != nil && !errors.Is(err, mailbox.ErrReplaced) {
		s.log.Warn("mailbox is served without mod-sequences", "mailbox", s.sel.name, "error", err)
	}
}

// announceModSeq reports HIGHESTMODSEQ to a client that has not enabled mod-sequences (RFC
// 7162 sections 3.1.2.1 and 3.1.2.2: in every SELECT). Some clients, such as Thunderbird, use
// them only after that.
func (s *session) announceModSeq() {
	n, err := s.sel.view.TellModSeq(s.ctx)
	s.logNoModSeq(err)
	if n == 0 {
		s.w.untagged("OK", "NOMODSEQ", "This mailbox does not support mod-sequences.")
		return
	}
	s.w.untagged("OK", s.highestModSeq(n), "Highest mod-sequence.")
}

// highestModSeq returns the response code HIGHESTMODSEQ and notes that it is sent.
func (s *session) highestModSeq(n uint64) string {
	s.sel.modseq.code = n
	return "HIGHESTMODSEQ " + strconv.FormatUint(n, 10)
}

// needModSeqs is called by commands that cannot work without mod-sequences.
func (s *session) needModSeqs() error {
	if err := s.enableModSeqs(); err != nil {
		return err
	}
	if s.sel.modseq.none {
		return bad("This mailbox does not support mod-sequences.")
	}
	return nil
}

// tellsModSeqs reports whether unsolicited FETCH responses include MODSEQ.
func (s *session) tellsModSeqs() bool { return s.condstore && !s.sel.modseq.none }

// modSeqData adds MODSEQ and UID to a FETCH response with flags (RFC 7162 section 3.2.4).
func (s *session) modSeqData(items *fetchItems, m mailbox.Message) {
	if !s.tellsModSeqs() {
		return
	}
	if items != nil && items.set&fetchUID == 0 && !s.uidOnly {
		s.w.Raw(" UID ")
		s.w.Number(uint64(m.UID))
	}
	if items == nil || !items.modseq {
		s.w.Raw(" MODSEQ (")
		s.modSeq(m)
		s.w.Byte(')')
	}
}

// modSeq writes the mod-sequence of a message, the lowest one if it has none: in a mailbox
// that just became unwritable.
func (s *session) modSeq(m mailbox.Message) {
	s.sel.modseq.seen = max(s.sel.modseq.seen, m.ModSeq)
	s.w.Number(max(m.ModSeq, 1))
}

// addModSeq adds the item MODSEQ.
func (items *fetchItems) addModSeq() {
	if items.modseq {
		return
	}
	items.modseq = true
	items.addAttr(&modSeqAttr{})
	items.begin = append(items.begin, func(s *session, _ syntax.NumSet) error { return s.needModSeqs() })
}

// modSeqAttr is the FETCH item MODSEQ.
type modSeqAttr struct {
	s *session
	m mailbox.Message
}

func (a *modSeqAttr) name() string     { return "MODSEQ" }
func (a *modSeqAttr) needs() fetchNeed { return needNothing }

func (a *modSeqAttr) prepare(s *session, m mailbox.Message, _ *mailfile.File) error {
	a.s, a.m = s, m
	return nil
}

func (a *modSeqAttr) write(w *writer) {
	w.Byte('(')
	a.s.modSeq(a.m)
	w.Byte(')')
}

// modSeqResponse writes the FETCH response of a silent STORE, which has MODSEQ but no flags.
func (s *session) modSeqResponse(m mailbox.Message) {
	s.w.Byte(s.fetchUIDResponse(m))
	s.w.Raw("MODSEQ (")
	s.modSeq(m)
	s.w.Raw("))\r\n")
}

// modified returns the response code MODIFIED.
func modified(msgs []mailbox.Message, uid bool) string {
	return "MODIFIED " + string(setOf(msgs, uid))
}

// modSeqKey is the search key MODSEQ (RFC 7162 section 3.1.5). Mod-sequences belong to messages
// as a whole, so it ignores which flag the client names.
func modSeqKey(p *searchParser) search.Key {
	p.SP()
	if p.Peek() == '"' {
		const flags = "/flags/"
		if name := p.Quoted(); len(name) <= len(flags) || !syntax.EqualFold(name[:len(flags)], flags) {
			p.Fail("Expected \"/flags/...\".")
		}
		p.SP()
		switch word := p.Word(); string(word) {
		case "PRIV", "SHARED", "ALL":
		default:
			p.Fail("Expected priv, shared or all.")
		}
		p.SP()
	}
	arg := &modSeqArg{asked: p.Number64()}
	if p.query.modseqs == nil {
		p.query.begin = append(p.query.begin, (*session).needModSeqs)
	}
	p.query.modseqs = append(p.query.modseqs, arg)
	p.query.begin = append(p.query.begin, arg.settle)
	return search.Key{Op: search.Extension, Extension: &search.ExtensionKey{Name: "MODSEQ", Matches: func(c *search.Candidate) (bool, error) {
		return c.Message.ModSeq >= arg.from, nil
	}}}
}

// modSeqArg is the argument of the search key MODSEQ.
type modSeqArg struct {
	asked uint64
	from  uint64 // asked, or 0 if it is not known what has changed since then
}

// settle finds out from in the selected mailbox. A client that knows N asks for messages from N
// or from N+1 on.
func (a *modSeqArg) settle(s *session) (err error) {
	a.from, err = s.sel.view.Since(s.ctx, a.asked)
	if err != nil || a.from > 0 || a.asked == 0 {
		return err
	}
	before, err := s.sel.view.Since(s.ctx, a.asked-1)
	if before > 0 {
		a.from = a.asked
	}
	return err
}

// highestOf returns the highest mod-sequence of the messages that a search returns.
func (q *searchQuery) highestOf(found []mailbox.Message) (highest uint64) {
	for _, m := range q.returned(found) {
		highest = max(highest, m.ModSeq)
	}
	return highest
}
