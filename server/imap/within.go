package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

// withinExtension is WITHIN (RFC 5032): OLDER and YOUNGER.
func withinExtension() extension {
	return extension{
		caps:       []imap.Cap{imap.CapWithin},
		searchKeys: searchWords{"OLDER": withinKey("OLDER"), "YOUNGER": withinKey("YOUNGER")},
	}
}

// withinKey compares the INTERNALDATE with a number of seconds before now: the
// message is within that time or it is not (RFC 5032 section 3).
func withinKey(name string) func(*searchParser) searchKey {
	return func(p *searchParser) searchKey {
		p.SP()
		ago := time.Duration(p.NZNumber()) * time.Second
		limit := time.Now().Add(-ago)
		return searchKey{op: searchOwn, own: &ownKey{name: name, cost: costStat, fleeting: true, matches: func(sr *searcher) (bool, error) {
			date, err := sr.s.sel.view.Date(sr.m)
			if name == "OLDER" {
				return !date.After(limit), err
			}
			return !date.Before(limit), err
		}}}
	}
}
