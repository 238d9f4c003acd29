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
			items.filters = append(items.filters, func(m mailbox.Message) bool { return m.ModSeq > since })
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

// clientModSeq is what a session knows of its client's copy of the selected
// mailbox's HIGHESTMODSEQ, which the client keeps as RFC 7162 section 6 says.
type clientModSeq struct {
	none  bool   // the mailbox keeps no mod-sequences
	known uint64 // the client's copy at the last tagged response
	// Since then:
	code     uint64   // the last HIGHESTMODSEQ that was sent, 0 for none
	seen     uint64   // the highest MODSEQ of a FETCH response
	vanished bool     // VANISHED was sent
	gone     []uint32 // UIDs that VANISHED is still to be sent for
}

// enableModSeqs makes the client one that is told mod-sequences. The first time
// that happens in a mailbox it is told the highest one (RFC 7162 section 3.1).
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

// tellHighestModSeq says up to which mod-sequence the client knows the mailbox
// that was just selected, or that there are none (RFC 7162 section 3.1.2).
func (s *session) tellHighestModSeq() {
	ok, err := s.sel.view.EnableModSeq(s.ctx)
	s.logNoModSeq(err)
	if s.sel.modseq.none = !ok || err != nil; s.sel.modseq.none {
		s.writeStatus(nil, "OK", "NOMODSEQ", "This mailbox does not support mod-sequences.")
		return
	}
	s.writeStatus(nil, "OK", s.highestModSeq(s.sel.view.HighestModSeq()), "Highest mod-sequence.")
}

// logNoModSeq tells why there are none, unless the mailbox ended just now.
func (s *session) logNoModSeq(err error) {
	if err != nil && !errors.Is(err, mailbox.ErrReplaced) {
		s.log.Warn("mailbox is served without mod-sequences", "mailbox", s.sel.name, "error", err)
	}
}

// announceModSeq tells a client that wants no mod-sequences so far which one the
// mailbox has (RFC 7162 sections 3.1.2.1 and 3.1.2.2: with every SELECT). Some,
// such as Thunderbird, begin to use them only then.
func (s *session) announceModSeq() {
	n, err := s.sel.view.TellModSeq(s.ctx)
	s.logNoModSeq(err)
	if n == 0 {
		s.writeStatus(nil, "OK", "NOMODSEQ", "This mailbox does not support mod-sequences.")
		return
	}
	s.writeStatus(nil, "OK", s.highestModSeq(n), "Highest mod-sequence.")
}

// highestModSeq is the response code that tells the client its copy.
func (s *session) highestModSeq(n uint64) string {
	s.sel.modseq.code = n
	return "HIGHESTMODSEQ " + strconv.FormatUint(n, 10)
}

// needModSeqs is for commands that work with mod-sequences only.
func (s *session) needModSeqs() error {
	if err := s.enableModSeqs(); err != nil {
		return err
	}
	if s.sel.modseq.none {
		return bad("This mailbox does not support mod-sequences.")
	}
	return nil
}

// tellsModSeqs tells whether FETCH responses that nobody asked for have MODSEQ.
func (s *session) tellsModSeqs() bool { return s.condstore && !s.sel.modseq.none }

// modSeqData adds MODSEQ and UID to a FETCH response that tells flags (RFC
// 7162 section 3.2.4).
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

// modSeq writes a message's mod-sequence.
func (s *session) modSeq(m mailbox.Message) {
	s.sel.modseq.seen = max(s.sel.modseq.seen, m.ModSeq)
	s.w.Number(m.ModSeq)
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

// modSeqResponse is the FETCH response to STORE that tells no flags.
func (s *session) modSeqResponse(m mailbox.Message) {
	s.w.Byte(s.fetchUIDResponse(m))
	s.w.Raw("MODSEQ (")
	s.modSeq(m)
	s.w.Raw("))\r\n")
}

// modified makes the response code MODIFIED.
func modified(msgs []mailbox.Message, uid bool) string {
	return "MODIFIED " + string(setOf(msgs, uid))
}

// modSeqKey is the search key MODSEQ (RFC 7162 section 3.1.5). Mod-sequences are
// those of messages, so for which flag it is asked does not matter.
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
	since := p.Number64()
	if !p.query.modseq {
		p.query.modseq = true
		p.query.begin = append(p.query.begin, (*session).needModSeqs)
	}
	return search.Key{Op: search.Extension, Extension: &search.ExtensionKey{Name: "MODSEQ", Matches: func(c *search.Candidate) (bool, error) {
		return c.Message.ModSeq >= since, nil
	}}}
}

// highestOf is the highest mod-sequence of the messages that a search returns.
func (q *searchQuery) highestOf(found []mailbox.Message) (highest uint64) {
	for _, m := range q.returned(found) {
		highest = max(highest, m.ModSeq)
	}
	return highest
}
