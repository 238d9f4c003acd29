package imap

import (
	"cmp"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/search"
	"maildird/server/imap/syntax"
)

// search is SEARCH and UID SEARCH (RFC 9051 section 6.4.4).
func (s *session) search(uid bool) error {
	query := s.lx.searchQuery(s.utf8)
	err := s.lx.End()
	if err == nil {
		err = s.answerSearch(&query, uid)
	}
	return s.unsave(&query, err)
}

// unsave returns err. If a search with RETURN (SAVE) failed, it first clears the saved result.
func (s *session) unsave(query *searchQuery, err error) error {
	var status *imap.Error
	if s.sel != nil && query.options.ReturnSave && errors.As(err, &status) && status.Type == imap.StatusResponseTypeNo {
		s.sel.saved = nil // RFC 5182 section 2.1
	}
	return err
}

// searcher is a search of the session. It collects what could not be read.
type searcher struct {
	*search.Searcher
	omissions omissions
}

// searcher prepares a query for the selected mailbox.
func (q *searchQuery) searcher(s *session) (*searcher, error) {
	if q.numbers && s.uidOnly {
		return nil, errUIDRequired()
	}
	s.done.holdExpunges = q.numbers
	for _, begin := range q.begin {
		if err := begin(s); err != nil {
			return nil, err
		}
	}
	return newSearcher(s, &q.program), nil
}

// newSearcher returns a searcher of the selected mailbox. The caller must close it.
func newSearcher(s *session, program *search.Program) *searcher {
	sr := &searcher{}
	sr.Searcher = search.New(&search.Asker{
		Ctx: s.ctx, View: s.sel.view, Working: s.working, Interrupted: s.interrupted, Helpers: s.srv.helpers,
		Missed: func(m mailbox.Message, err error) { s.noteOmission(&sr.omissions, m, err) },
	}, program, s.sel.saved)
	return sr
}

// answerSearch searches the selected mailbox and writes the response.
func (s *session) answerSearch(query *searchQuery, uid bool) error {
	sr, err := query.searcher(s)
	if err != nil {
		return err
	}
	defer sr.Close()
	found, err := sr.run(query)
	if err != nil {
		return err
	}
	s.keepUpdated(query, found, uid, nil)
	if query.options.ReturnSave {
		s.sel.saved = query.saved(found)
	}
	if query.named && len(found) == 0 {
		// RFC 7377 section 2.1: no response.
	} else if !query.hasReturn && !query.named && !s.rev2 {
		s.w.numbers("SEARCH", found, uid, query)
	} else {
		s.esearchResponse(found, uid, query)
	}
	s.searched(sr.omissions)
	return nil
}

// searched mentions in the tagged OK what a search had to leave out: a file that is unreadable
// or gone must not hide the other results.
func (s *session) searched(l omissions) {
	switch {
	case l.unread:
		s.done.text = "Some messages cannot be read and were not searched; see the server log."
	case l.gone:
		s.mentionOmitted()
	}
}

// mentionOmitted mentions in the tagged OK that messages were left out because they no longer
// exist, which the client may not know yet (RFC 5530 section 3).
func (s *session) mentionOmitted() {
	s.done.code, s.done.text = string(codeExpungeIssued), "Some messages no longer exist and were left out."
}

// run returns the messages that match in ascending order, or at least those of them that
// the options ask for.
func (sr *searcher) run(q *searchQuery) ([]mailbox.Message, error) {
	opt := &q.options
	if (opt.ReturnMin || opt.ReturnMax) && !opt.ReturnAll && !opt.ReturnCount && q.more == nil && q.update == nil {
		return sr.Ends(opt.ReturnMin, opt.ReturnMax)
	}
	return sr.All()
}

// returned returns those of the messages found that the options refer to: all, unless the
// client asked only for the first, the last or a range (RFC 4731 section 3.2, RFC 5182 section
// 2.4, RFC 9394 section 3.2).
func (q *searchQuery) returned(found []mailbox.Message) []mailbox.Message {
	opt := &q.options
	if opt.ReturnAll || opt.ReturnCount || q.partial == nil && !opt.ReturnMin && !opt.ReturnMax || len(found) == 0 {
		return found
	}
	var out []mailbox.Message
	if q.partial != nil {
		out = append(out, q.partial.of(found)...)
	}
	if opt.ReturnMin {
		out = append(out, found[0])
	}
	if opt.ReturnMax {
		out = append(out, found[len(found)-1])
	}
	return out
}

// saved returns the value of "$" after a search.
func (q *searchQuery) saved(found []mailbox.Message) []mailbox.Range {
	// SORT has another order.
	found = slices.SortedFunc(slices.Values(q.returned(found)), func(a, b mailbox.Message) int { return cmp.Compare(a.UID, b.UID) })
	var ranges []mailbox.Range
	for _, m := range found {
		if n := len(ranges); n > 0 && ranges[n-1].Last+1 >= m.UID {
			ranges[n-1].Last = m.UID
		} else {
			ranges = append(ranges, mailbox.Range{First: m.UID, Last: m.UID})
		}
	}
	return ranges
}

func numberOf(m mailbox.Message, uid bool) uint32 {
	if uid {
		return m.UID
	}
	return m.Seq
}

// setOf returns the set of some messages, in their order.
func setOf(msgs []mailbox.Message, uid bool) []byte {
	nums := make([]uint32, len(msgs))
	for i, m := range msgs {
		nums[i] = numberOf(m, uid)
	}
	return syntax.AppendSet(nil, nums)
}

// esearchResponse writes the ESEARCH response (RFC 4731, IMAP4rev2). A search that only saves
// its result has none.
func (s *session) esearchResponse(found []mailbox.Message, uid bool, q *searchQuery) {
	opt, w := q.options, s.w
	if !q.hasReturn {
		opt.ReturnAll = true
	}
	if opt == (imap.SearchOptions{ReturnSave: true}) && q.more == nil && q.update == nil {
		return
	}
	s.esearchHead(string(s.tag), q.named, uid)
	if len(found) > 0 {
		if opt.ReturnMin {
			w.Raw(" MIN ")
			w.Number(uint64(numberOf(found[0], uid)))
		}
		if opt.ReturnMax {
			w.Raw(" MAX ")
			w.Number(uint64(numberOf(found[len(found)-1], uid)))
		}
		if opt.ReturnAll {
			w.Raw(" ALL ")
			w.RawBytes(setOf(found, uid))
		}
	}
	if opt.ReturnCount {
		w.Raw(" COUNT ")
		w.Number(uint64(len(found)))
	}
	for _, more := range q.more {
		more(w, found, uid)
	}
	if q.modseqs != nil && len(found) > 0 {
		w.Raw(" MODSEQ ")
		w.Number(q.highestOf(found))
	}
	w.CRLF()
}

// esearchHead writes the beginning of an ESEARCH response: the tag of the command, the mailbox
// if named is set (RFC 7377 section 2.1), and UID if the result has UIDs.
func (s *session) esearchHead(tag string, named, uid bool) {
	w := s.w
	w.Raw("* ESEARCH (TAG ")
	w.Str(tag)
	if named {
		w.Raw(" MAILBOX ")
		w.Mailbox(s.sel.name)
		w.Raw(" UIDVALIDITY ")
		w.Number(uint64(s.sel.view.UIDValidity()))
	}
	w.Byte(')')
	if uid {
		w.Raw(" UID")
	}
}
