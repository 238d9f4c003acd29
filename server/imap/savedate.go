package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
)

// saveDateExtension is SAVEDATE (RFC 8514): when a message came into the mailbox
// where it is now, by delivery, APPEND, COPY or MOVE. All mailboxes have it.
func saveDateExtension() extension {
	return extension{
		caps:       []imap.Cap{imap.CapSaveDate},
		fetchItems: words[fetchItems]{"SAVEDATE": func(_ *lexer, items *fetchItems) { items.addAttr(&saveDateAttr{}) }},
		searchKeys: searchWords{
			"SAVEDBEFORE":       saveDateKey("SAVEDBEFORE", searchBefore),
			"SAVEDON":           saveDateKey("SAVEDON", searchOn),
			"SAVEDSINCE":        saveDateKey("SAVEDSINCE", searchSince),
			"SAVEDATESUPPORTED": plainKey(searchKey{op: searchAnd}),
		},
	}
}

// saveDateAttr is the FETCH item SAVEDATE (RFC 8514 section 4.2).
type saveDateAttr struct{ date time.Time }

func (*saveDateAttr) name() string     { return "SAVEDATE" }
func (*saveDateAttr) needs() fetchNeed { return needNothing }

func (a *saveDateAttr) prepare(s *session, m mailbox.Message, _ *mailfile.File) (err error) {
	a.date, err = s.sel.view.SaveDate(s.ctx, m)
	return err
}

func (a *saveDateAttr) write(w *writer) { w.DateTime(a.date) }

// saveDateKey compares the day of the save date as op does that of INTERNALDATE.
func saveDateKey(name string, op searchOp) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey {
		p.SP()
		day := dayOf(p.Date())
		return searchKey{op: searchOwn, own: &ownKey{name: name, cost: costStat, matches: func(sr *searcher) (bool, error) {
			date, err := sr.s.sel.view.SaveDate(sr.s.ctx, sr.m)
			return err == nil && isDay(op-searchBefore, dayOf(date), day), err
		}}}
	}
}
