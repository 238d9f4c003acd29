package imap

import (
	"errors"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// copyExtension is COPY.
func copyExtension() extension {
	return extension{commands: []command{
		{name: "COPY", in: selected, news: allNews, numbers: true, run: bySeq((*session).copy)},
		{name: "UID COPY", in: selected, news: allNews, run: byUID((*session).copy)},
	}}
}

// moveExtension is MOVE (RFC 6851).
func moveExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapMove},
		commands: []command{
			{name: "MOVE", in: selected, news: allNews, numbers: true, run: bySeq((*session).move)},
			{name: "UID MOVE", in: selected, news: allNews, run: byUID((*session).move)},
		},
	}
}

// copyArguments takes the arguments of COPY and MOVE.
func (lx *lexer) copyArguments() (set syntax.NumSet, dest string) {
	lx.SP()
	set = lx.NumSet()
	lx.SP()
	return set, lx.Mailbox()
}

// copy is COPY and UID COPY (RFC 9051 section 6.4.7).
func (s *session) copy(uid bool) error {
	set, dest := s.lx.copyArguments()
	if err := s.lx.End(); err != nil {
		return err
	}
	uids, box, err := s.copyOperands(set, uid, dest)
	if err != nil {
		return err
	}
	defer box.Release()
	copied, err := s.sel.view.Copy(s.ctx, uids, box.Mailbox)
	if err != nil {
		return err
	}
	s.ownMessages(box, copied.Dest)
	if len(copied.Source) > 0 {
		s.done.code = copyUID(copied)
	}
	return nil
}

// move is MOVE and UID MOVE (RFC 9051 section 6.4.8). COPYUID must precede the EXPUNGE
// responses, which the dispatcher writes.
func (s *session) move(uid bool) error {
	set, dest := s.lx.copyArguments()
	if err := s.lx.End(); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	uids, box, err := s.copyOperands(set, uid, dest)
	if err != nil {
		return err
	}
	defer box.Release()
	s.done.tellAll = true
	moved, err := s.sel.view.Move(s.ctx, uids, box.Mailbox)
	s.ownMessages(box, moved.Dest)
	if len(moved.Source) > 0 {
		s.w.untagged("OK", copyUID(moved), "Moved UIDs.")
	}
	return err
}

// copyOperands returns the UIDs to copy and opens the destination, which the
// caller must release.
func (s *session) copyOperands(set syntax.NumSet, uid bool, dest string) ([]uint32, *maildir.Mailbox, error) {
	uids, err := s.uids(set, uid)
	if err != nil {
		return nil, nil, err
	}
	box, err := s.openDestination(dest)
	return uids, box, err
}

// openDestination opens a mailbox that messages are to be added to. The caller must release it.
func (s *session) openDestination(name string) (*maildir.Mailbox, error) {
	box, err := s.open(name)
	if errors.Is(err, folder.ErrNotFound) {
		return nil, no(imap.ResponseCodeTryCreate, "No such mailbox.")
	}
	return box, err
}

// copyUID returns the response code COPYUID (RFC 9051 section 7.1). Both sets list the UIDs
// in the same order.
func copyUID(c mailbox.Copied) string {
	b := make([]byte, 0, 64)
	b = append(b, "COPYUID "...)
	b = strconv.AppendUint(b, uint64(c.UIDValidity), 10)
	b = append(b, ' ')
	b = syntax.AppendSet(b, c.Source)
	b = append(b, ' ')
	return string(syntax.AppendSet(b, c.Dest))
}
