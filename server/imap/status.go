package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/mailbox"
)

// statusExtension is STATUS with the items of IMAP4rev1 and IMAP4rev2.
func statusExtension() extension {
	return extension{
		caps:     []imap.Cap{imap.CapStatusSize},
		commands: []command{{name: "STATUS", in: loggedIn, news: allNews, run: runStatus}},
		statusItems: []statusItem{
			statusNumber("MESSAGES", func(st *mailbox.Status) uint64 { return uint64(st.Messages) }),
			statusNumber("RECENT", func(st *mailbox.Status) uint64 { return uint64(st.Recent) }),
			statusNumber("UIDNEXT", func(st *mailbox.Status) uint64 { return uint64(st.UIDNext) }),
			statusNumber("UIDVALIDITY", func(st *mailbox.Status) uint64 { return uint64(st.UIDValidity) }),
			statusNumber("UNSEEN", func(st *mailbox.Status) uint64 { return uint64(st.Unseen) }),
			statusNumber("DELETED", func(st *mailbox.Status) uint64 { return uint64(st.Deleted) }),
			{name: "SIZE", sizes: true, write: func(st *mailboxStatus) { st.s.w.Number(uint64(st.Size)) }},
		},
	}
}

// statusItem is one item of STATUS (RFC 9051 section 6.3.11).
type statusItem struct {
	name  string
	sizes bool // needs the sizes of all messages
	// begin, if not nil, is called before the status of the mailbox is read.
	begin func(*mailboxStatus) error
	// write writes the value.
	write func(*mailboxStatus)
}

// mailboxStatus holds the values of STATUS items.
type mailboxStatus struct {
	s   *session
	box *maildir.Mailbox // while the status is read
	mailbox.Status
	modseq uint64 // HIGHESTMODSEQ
	id     string // MAILBOXID

	deletedSize int64 // DELETED-STORAGE
}

func statusNumber(name string, value func(*mailbox.Status) uint64) statusItem {
	return statusItem{name: name, write: func(st *mailboxStatus) { st.s.w.Number(value(&st.Status)) }}
}

// statusItems takes STATUS items in parentheses, and returns them in the order of the table.
func (lx *lexer) statusItems() []*statusItem {
	all := lx.grammar.statusItems
	asked := make([]bool, len(all))
	lx.List(func() {
		name := lx.Word()
		i := slices.IndexFunc(all, func(item statusItem) bool { return item.name == string(name) })
		if i < 0 {
			lx.Fail("Unknown STATUS item %.40s.", name)
			return
		}
		asked[i] = true
	})
	var items []*statusItem
	for i := range all {
		if asked[i] {
			items = append(items, &all[i])
		}
	}
	return items
}

// runStatus is STATUS (RFC 9051 section 6.3.11).
func runStatus(s *session) error {
	lx := s.lx
	lx.SP()
	name := lx.Mailbox()
	lx.SP()
	items := lx.statusItems()
	if err := lx.End(); err != nil {
		return err
	}
	st, err := s.readStatus(name, items)
	if err == nil {
		st.respond(name, items)
	}
	return err
}

// readStatus reads the status of a mailbox.
func (s *session) readStatus(name string, items []*statusItem) (*mailboxStatus, error) {
	box, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer box.Release()
	sizes := slices.ContainsFunc(items, func(item *statusItem) bool { return item.sizes })
	st := &mailboxStatus{s: s, box: box}
	for _, item := range items {
		if item.begin == nil {
			continue
		}
		if err := item.begin(st); err != nil {
			return nil, err
		}
	}
	st.Status, err = box.Status(s.ctx, sizes, s.interrupted)
	return st, err
}

// respond writes the STATUS response.
func (st *mailboxStatus) respond(name string, items []*statusItem) {
	w := st.s.w
	w.Raw("* STATUS ")
	w.Mailbox(name)
	sep := " ("
	for _, item := range items {
		w.Raw(sep)
		w.Raw(item.name)
		w.SP()
		item.write(st)
		sep = " "
	}
	w.Raw(")\r\n")
}
