package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// statusItem is one item of STATUS (RFC 9051 section 6.3.11).
type statusItem struct {
	name  string
	on    func(*imap.StatusOptions) *bool
	value func(s *session, st *mailbox.Status) uint64
}

// statusItems are all items, in the order in which they are answered.
func statusItems() []statusItem {
	return []statusItem{
		{"MESSAGES", func(o *imap.StatusOptions) *bool { return &o.NumMessages },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.Messages) }},
		{"RECENT", func(o *imap.StatusOptions) *bool { return &o.NumRecent },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.Recent) }},
		{"UIDNEXT", func(o *imap.StatusOptions) *bool { return &o.UIDNext },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.UIDNext) }},
		{"UIDVALIDITY", func(o *imap.StatusOptions) *bool { return &o.UIDValidity },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.UIDValidity) }},
		{"UNSEEN", func(o *imap.StatusOptions) *bool { return &o.NumUnseen },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.Unseen) }},
		{"DELETED", func(o *imap.StatusOptions) *bool { return &o.NumDeleted },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.Deleted) }},
		{"SIZE", func(o *imap.StatusOptions) *bool { return &o.Size },
			func(_ *session, st *mailbox.Status) uint64 { return uint64(st.Size) }},
		{"APPENDLIMIT", func(o *imap.StatusOptions) *bool { return &o.AppendLimit },
			func(s *session, _ *mailbox.Status) uint64 { return uint64(s.srv.cfg.AppendLimit) }},
	}
}

// statusOptions takes the items of STATUS in parentheses.
func (lx *lexer) statusOptions() *imap.StatusOptions {
	opt := &imap.StatusOptions{}
	items := statusItems()
	lx.list(func() {
		name := lx.word()
		for _, item := range items {
			if string(name) == item.name {
				*item.on(opt) = true
				return
			}
		}
		lx.fail("Unknown STATUS item.")
	})
	return opt
}

// runStatus is STATUS (RFC 9051 section 6.3.11).
func runStatus(s *session) error {
	lx := s.lx
	lx.sp()
	name := lx.mailbox()
	lx.sp()
	opt := lx.statusOptions()
	if err := lx.end(); err != nil {
		return err
	}
	st, err := s.mailboxStatus(name, opt)
	if err != nil {
		return err
	}
	s.statusResponse(name, opt, &st)
	return nil
}

func (s *session) mailboxStatus(name string, opt *imap.StatusOptions) (mailbox.Status, error) {
	box, err := s.account.Open(s.ctx, name)
	if err != nil {
		return mailbox.Status{}, err
	}
	defer box.Release()
	return box.Status(s.ctx, opt.Size)
}

func (s *session) statusResponse(name string, opt *imap.StatusOptions, st *mailbox.Status) {
	w := s.w
	w.raw("* STATUS ")
	w.mailbox(name)
	sep := " ("
	for _, item := range statusItems() {
		if !*item.on(opt) {
			continue
		}
		w.raw(sep)
		w.raw(item.name)
		w.sp()
		w.num(item.value(s, st))
		sep = " "
	}
	w.raw(")\r\n")
}
