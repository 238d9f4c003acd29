package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
	"maildird/server/imap/search"
)

// saveDateExtension is SAVEDATE (RFC 8514): the time at which a message was added to its
// current mailbox by delivery, APPEND, COPY or MOVE. All mailboxes support it.
func saveDateExtension() extension {
	return extension{
		caps:       []imap.Cap{imap.CapSaveDate},
		fetchItems: words[fetchItems]{"SAVEDATE": func(_ *lexer, items *fetchItems) { items.addAttr(&saveDateAttr{}) }},
		searchKeys: searchWords{
			"SAVEDBEFORE":       saveDateKey("SAVEDBEFORE", search.Before),
			"SAVEDON":           saveDateKey("SAVEDON", search.On),
			"SAVEDSINCE":        saveDateKey("SAVEDSINCE", search.Since),
			"SAVEDATESUPPORTED": plainKey(search.Key{Op: search.And}),
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

// saveDateKey compares the day of the save date the way that op compares that of INTERNALDATE.
func saveDateKey(name string, op search.Op) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		p.SP()
		day := search.DayOf(p.Date())
		return search.Key{Op: search.Extension, Extension: &search.ExtensionKey{Name: name, Cost: search.CostStat, Matches: func(c *search.Candidate) (bool, error) {
			date, err := c.View.SaveDate(c.Ctx, c.Message)
			return err == nil && op.OfDay(date, day), err
		}}}
	}
}
