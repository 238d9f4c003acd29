package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/order"
	"maildird/server/imap/thread"
)

// threadExtension is THREAD (RFC 5256) with the algorithms ORDEREDSUBJECT and REFERENCES, and
// REFS (draft-ietf-morg-inthread), which does not join messages by subject alone and puts the
// thread with the latest message last.
func threadExtension() extension {
	algorithms := map[string]func([]thread.Mail) []*thread.Thread{
		"ORDEREDSUBJECT": thread.OrderedSubject,
		"REFERENCES":     thread.ByReferences,
		"REFS":           thread.ByRefs,
	}
	run := func(s *session, uid bool) error { return s.thread(algorithms, uid) }
	return extension{
		caps: []imap.Cap{"THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS"},
		commands: []command{
			{name: "THREAD", in: selected, news: noExpunges, numbers: true, run: bySeq(run)},
			{name: "UID THREAD", in: selected, news: allNews, run: byUID(run)},
		},
	}
}

// thread is THREAD and UID THREAD.
func (s *session) thread(algorithms map[string]func([]thread.Mail) []*thread.Thread, uid bool) error {
	lx := s.lx
	p := searchParser{lexer: lx, decode: decodeUTF8}
	lx.SP()
	word := lx.Word()
	algorithm, known := algorithms[string(word)]
	if !known {
		lx.Fail("Unknown threading algorithm %.40s.", word)
	}
	lx.SP()
	p.charset(lx.AString(), false)
	lx.SP()
	p.query.program.Key = p.list()
	if err := lx.End(); err != nil {
		return err
	}
	sr, err := p.query.searcher(s)
	if err != nil {
		return err
	}
	defer sr.Close()
	found, err := sr.All()
	if err != nil {
		return err
	}
	reader := newHeaderReader(s, sr.omissions)
	defer reader.close()
	mails, err := reader.threadMails(found)
	if err != nil {
		return err
	}
	s.w.threads(algorithm(mails), uid)
	return reader.result()
}

// threadMails returns what the algorithms must know of messages.
func (r *headerReader) threadMails(msgs []mailbox.Message) ([]thread.Mail, error) {
	mails := make([]thread.Mail, 0, len(msgs))
	var names thread.Names
	var ids []thread.Name
	var one thread.Mail
	references := 0
	err := r.each(msgs, true, func(m *sortee) {
		ids = ids[:0]
		for id := range m.IDs() {
			ids = append(ids, names.Of(id))
		}
		one = thread.Mail{Message: m.m, ID: ids[0], References: slices.Clone(ids[1:]), Sent: m.sent(), Subject: names.Of(m.Texts[order.BaseSubject]), Reply: m.Reply}
		references += len(one.References)
		r.holds(names.Octets() + 4*int64(references))
	}, func(int) { mails = append(mails, one) })
	return mails, err
}

// threads writes "* THREAD (1)(2 3 (4)(5 6))".
func (w *writer) threads(threads []*thread.Thread, uid bool) {
	w.Raw("* THREAD")
	if len(threads) > 0 {
		w.SP()
	}
	for _, t := range threads {
		w.thread(t, uid)
	}
	w.CRLF()
}

// thread writes a thread in parentheses. Where it branches, each branch has its own parentheses
// (RFC 5256 section 4).
func (w *writer) thread(t *thread.Thread, uid bool) {
	w.Byte('(')
	for first := true; ; first = false {
		if t.Mail != nil {
			if !first {
				w.SP()
			}
			w.Number(uint64(numberOf(t.Mail.Message, uid)))
		}
		if len(t.Children) != 1 {
			break
		}
		t = t.Children[0]
	}
	if len(t.Children) > 0 && t.Mail != nil {
		w.SP()
	}
	for _, child := range t.Children {
		w.thread(child, uid)
	}
	w.Byte(')')
}
