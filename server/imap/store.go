package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// storeExtension is STORE.
func storeExtension() extension {
	return extension{commands: []command{
		{name: "STORE", in: selected, news: noExpunges, numbers: true, run: bySeq((*session).store)},
		{name: "UID STORE", in: selected, news: allNews, run: byUID((*session).store)},
	}}
}

// storeRequest is the arguments of STORE.
type storeRequest struct {
	set    syntax.NumSet
	op     mailbox.Op
	silent bool
	flags  flagSet

	unchangedSince *uint64 // UNCHANGEDSINCE (RFC 7162)
}

// storeArguments takes the arguments of STORE.
func (lx *lexer) storeArguments() (req storeRequest) {
	lx.SP()
	req.set = lx.NumSet()
	lx.SP()
	if lx.Peek() == '(' {
		lx.OptionalList(lx.grammar.storeParams.once(lx, &req, "STORE modifier"))
		lx.SP()
	}
	switch {
	case lx.Accept('+'):
		req.op = mailbox.Add
	case lx.Accept('-'):
		req.op = mailbox.Remove
	}
	switch word := lx.Word(); string(word) {
	case "FLAGS":
	case "FLAGS.SILENT":
		req.silent = true
	default:
		lx.Fail("Unknown STORE item %.40s.", word)
	}
	lx.SP()
	req.flags = lx.flagsArgument()
	if req.flags.recent {
		lx.Fail("\\Recent cannot be stored.")
	}
	return req
}

// store is STORE and UID STORE (RFC 9051 section 6.4.6).
func (s *session) store(uid bool) error {
	req := s.lx.storeArguments()
	if err := s.lx.End(); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	if req.unchangedSince != nil {
		if err := s.needModSeqs(); err != nil {
			return err
		}
	}
	uids, err := s.uids(req.set, uid)
	if err != nil || len(uids) == 0 {
		return err
	}
	done, others, err := s.storeFlags(&req, uids)
	s.noteChanged(done)
	s.noteChanged(others)
	s.tellKeywords()
	for _, m := range done {
		if !req.silent || err != nil { // a client that is refused does not know which were changed
			s.flagsResponse(m)
		} else if s.tellsModSeqs() {
			s.modSeqResponse(m)
		}
	}
	for _, m := range others {
		s.flagsResponse(m) // so that the client sees what has changed
	}
	if err != nil {
		return err
	}
	err = req.missing(uid, len(uids), len(done)+len(others))
	if len(others) == 0 {
		return err
	}
	if code := modified(others, uid); err == nil {
		s.done.code, s.done.text = code, "Some messages had changed and were not updated."
	} else {
		err = no(imap.ResponseCode(code), "Some of the messages no longer exist.")
	}
	return err
}

// storeFlags changes the flags. others are messages that failed UNCHANGEDSINCE
// and were not changed.
func (s *session) storeFlags(req *storeRequest, uids []uint32) (done, others []mailbox.Message, err error) {
	view := s.sel.view
	if req.unchangedSince == nil {
		done, err = view.Store(s.ctx, uids, req.op, req.flags.system, req.flags.words)
		return done, nil, err
	}
	return view.StoreUnchangedSince(s.ctx, *req.unchangedSince, uids, req.op, req.flags.system, req.flags.words)
}

// missing returns an error if the command fails because messages are gone, of which only found are
// there (RFC 2180 section 4.2). A UID that does not exist is no error.
func (req *storeRequest) missing(uid bool, asked, found int) error {
	if uid || found == asked || req.silent && found > 0 {
		return nil
	}
	return mailbox.ErrGone
}
