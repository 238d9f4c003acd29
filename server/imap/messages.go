package imap

import "github.com/emersion/go-imap/v2"

// messageCommands are the commands that work on messages.
func messageCommands() []command {
	return []command{
		{name: "FETCH", in: selected, news: noExpunges, run: runFetch, caps: []imap.Cap{imap.CapBinary}},
		{name: "UID FETCH", in: selected, news: allNews, run: runUIDFetch},
		{name: "STORE", in: selected, news: noExpunges, run: runStore},
		{name: "UID STORE", in: selected, news: allNews, run: runUIDStore},
		{name: "SEARCH", in: selected, news: noExpunges, run: runSearch, caps: []imap.Cap{imap.CapESearch, imap.CapSearchRes}},
		{name: "UID SEARCH", in: selected, news: allNews, run: runUIDSearch},
		{name: "COPY", in: selected, news: allNews, run: runCopy},
		{name: "UID COPY", in: selected, news: allNews, run: runUIDCopy},
		{name: "MOVE", in: selected, news: allNews, run: runMove, caps: []imap.Cap{imap.CapMove}},
		{name: "UID MOVE", in: selected, news: allNews, run: runUIDMove},
		{name: "EXPUNGE", in: selected, news: allNews, run: runExpunge},
		{name: "UID EXPUNGE", in: selected, news: allNews, run: runUIDExpunge, caps: []imap.Cap{imap.CapUIDPlus}},
		{name: "APPEND", in: loggedIn, news: allNews, run: runAppend},
	}
}
