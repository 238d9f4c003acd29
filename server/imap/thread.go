package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// threadExtension is THREAD (RFC 5256) with the algorithms ORDEREDSUBJECT and
// REFERENCES, and REFS (draft-ietf-morg-inthread), which parts what subjects
// alone would join and puts the thread with the latest mail last.
func threadExtension() extension {
	algorithms := map[string]func([]threadee) []*thread{
		"ORDEREDSUBJECT": orderedSubject,
		"REFERENCES":     byReferences,
		"REFS":           byRefs,
	}
	run := func(uid bool) func(*session) error {
		return func(s *session) error { return s.thread(algorithms, uid) }
	}
	return extension{
		caps: []imap.Cap{"THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS"},
		commands: []command{
			{name: "THREAD", in: selected, news: noExpunges, numbers: true, run: run(false)},
			{name: "UID THREAD", in: selected, news: allNews, run: run(true)},
		},
	}
}

// thread is THREAD and UID THREAD.
func (s *session) thread(algorithms map[string]func([]threadee) []*thread, uid bool) error {
	lx := s.lx
	p := searchParser{lexer: lx, decode: decodeUTF8}
	lx.SP()
	algorithm, known := algorithms[string(lx.Word())]
	if !known {
		lx.Fail("Unknown threading algorithm.")
	}
	lx.SP()
	p.charset(lx.AString(), false)
	lx.SP()
	p.query.key = p.list()
	if err := lx.End(); err != nil {
		return err
	}
	sr, err := p.query.searcher(s)
	if err != nil {
		return err
	}
	defer sr.close()
	found, err := sr.all()
	if err != nil {
		return err
	}
	reader := newHeaderReader(s, sr.lacking)
	defer reader.close()
	mails := make([]threadee, 0, len(found))
	var one threadee
	err = reader.each(found, true, func(m *sortee) { one = newThreadee(m) }, func(int) { mails = append(mails, one) })
	if err != nil {
		return err
	}
	s.threadResponse(algorithm(mails), uid)
	return reader.lacking.result()
}

func newThreadee(m *sortee) threadee {
	t := threadee{m: m.m, sent: m.sent(), subject: string(m.texts[baseSubject]), reply: m.reply}
	ids := string(m.ids) // the only copy
	t.id, ids, _ = cutPiece(ids)
	for len(ids) > 0 {
		var id string
		id, ids, _ = cutPiece(ids)
		t.references = append(t.references, id)
	}
	return t
}

// threadResponse writes "* THREAD (1)(2 3 (4)(5 6))".
func (s *session) threadResponse(threads []*thread, uid bool) {
	w := s.w
	w.Raw("* THREAD")
	if len(threads) > 0 {
		w.SP()
	}
	for _, t := range threads {
		w.thread(t, uid)
	}
	w.CRLF()
}

// thread writes a thread in parentheses. Only where one branches it goes deeper.
func (w *writer) thread(t *thread, uid bool) {
	w.Byte('(')
	for first := true; ; first = false {
		if t.mail != nil {
			if !first {
				w.SP()
			}
			w.Number(uint64(numberOf(t.mail.m, uid)))
		}
		if len(t.children) != 1 {
			break
		}
		t = t.children[0]
	}
	if len(t.children) > 0 && t.mail != nil {
		w.SP()
	}
	for _, child := range t.children {
		w.thread(child, uid)
	}
	w.Byte(')')
}

// threadee is what threading needs of a message.
type threadee struct {
	m          mailbox.Message
	id         string // "" if it has none
	references []string
	sent       int64  // Unix time
	subject    string // base subject, to be compared as it is
	reply      bool   // the subject is one of a reply or a forwarded message
}
