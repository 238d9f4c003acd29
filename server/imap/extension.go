package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// extension is one part of the protocol: what one file adds to the grammar and
// to the capabilities. The base protocol is made of such parts too. A field
// that is not set adds nothing.
type extension struct {
	// caps are announced after login; those of early before it as well.
	caps, early []imap.Cap
	// capsOf are announced if the session as it stands can use them.
	capsOf func(*session) []imap.Cap
	// enable is what ENABLE can turn on.
	enable []enabler

	commands   []command
	mechanisms []mechanism // of AUTHENTICATE

	selectParams words[selectRequest] // SELECT mailbox (...)
	createParams words[createRequest] // CREATE mailbox (...)
	listSelect   words[listCommand]   // LIST (...) reference pattern
	listReturn   words[listCommand]   // LIST reference pattern RETURN (...)
	statusItems  []statusItem
	fetchItems   words[fetchItems]
	fetchParams  words[fetchItems]   // FETCH set items (...)
	storeParams  words[storeRequest] // STORE set (...) flags
	searchKeys   searchWords
	searchReturn words[searchQuery] // SEARCH RETURN (...)
	appendData   words[appendItem]  // what may stand in the place of APPEND's literal

	// selected writes what more a client is told of a mailbox that it selects.
	selected func(*session)
	// created is called when CREATE made a mailbox. It may set the response code.
	created func(s *session, name string) error
	// flagData writes, with a space before it, what more a FETCH response has
	// that tells flags without being asked; items is what the response has
	// besides, nil for nothing.
	flagData func(*session, *fetchItems, mailbox.Message)
}

// extensions are all parts, in the order in which their capabilities are
// announced. To add one, write a file such as id.go and add it here.
func extensions(cfg *Config) []extension {
	return []extension{
		rev1Extension(), rev2Extension(cfg), literalExtension(),
		connectionExtension(), tlsExtension(), authExtension(), scramExtension(cfg.SCRAM), tokenExtension(cfg.SCRAM, cfg.Tokens), saslExtension(), unauthenticateExtension(cfg),
		idExtension(), enableExtension(), idleExtension(), notifyExtension(), multiSearchExtension(),
		namespaceExtension(), folderExtension(), listExtension(), lsubExtension(), statusExtension(),
		specialUseExtension(), selectExtension(), unselectExtension(),
		fetchExtension(), binaryExtension(), storeExtension(), searchExtension(), sortExtension(), contextExtension(), threadExtension(),
		copyExtension(), moveExtension(), expungeExtension(), appendExtension(cfg), catenateExtension(), urlAuthExtension(cfg), utf8Extension(),
		withinExtension(), saveDateExtension(), condstoreExtension(), qresyncExtension(), compressExtension(), replaceExtension(), partialExtension(), inProgressExtension(), previewExtension(), aclExtension(), objectIDExtension(), uidOnlyExtension(cfg), quotaExtension(), metadataExtension(),
	}
}

// enabler is a capability that ENABLE turns on.
type enabler struct {
	name imap.Cap
	// on turns it on, and tells whether it was off.
	on func(*session) bool
	// then, if not nil, goes on when the ENABLED response was written.
	then func(*session) error
}
