package imap

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/search"
)

// withinExtension is WITHIN (RFC 5032): OLDER and YOUNGER.
func withinExtension() extension {
	return extension{
		caps:       []imap.Cap{imap.CapWithin},
		searchKeys: searchWords{"OLDER": withinKey("OLDER"), "YOUNGER": withinKey("YOUNGER")},
	}
}

// withinKey compares the INTERNALDATE with the time that lies a number of seconds in the past
// (RFC 5032 section 2).
func withinKey(name string) func(*searchParser) search.Key {
	return func(p *searchParser) search.Key {
		var ago time.Duration
		p.SP()
		p.InQuotes(func() { ago = time.Duration(p.NZNumber()) * time.Second })
		limit := time.Now().Add(-ago)
		return search.Key{Op: search.Extension, Extension: &search.ExtensionKey{Name: name, Cost: search.CostStat, Fleeting: true, Matches: func(c *search.Candidate) (bool, error) {
			date, err := c.View.Date(c.Message)
			if name == "OLDER" {
				return !date.After(limit), err
			}
			return !date.Before(limit), err
		}}}
	}
}
