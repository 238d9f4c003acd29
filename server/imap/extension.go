package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/mailbox"
)

// extension is one part of the protocol: what a file adds to the grammar and the
// capabilities. The base protocol consists of such parts too. Fields may be left unset.
type extension struct {
	// early are announced before and after login, caps only after it.
	caps, early []imap.Cap
	// capsOf returns capabilities that depend on the state of the session.
	capsOf func(*session) []imap.Cap
	// enable lists what ENABLE can turn on.
	enable []enabler

	commands []command

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
	appendData   words[appendItem]  // alternatives to the literal of APPEND

	// selected writes additional responses to SELECT and EXAMINE.
	selected func(*session)
	// created is called after CREATE. It may set the response code.
	created func(s *session, name string) error
	// flagData writes additional items of a FETCH response that reports flags unasked,
	// each after a space. items are the other items of the response, nil for none.
	flagData func(*session, *fetchItems, mailbox.Message)
}

// extensions returns all parts, in the order in which their capabilities are announced.
// The package comment says how to add one.
func extensions(cfg *Config) []extension {
	return []extension{
		rev1Extension(), rev2Extension(cfg), literalExtension(), connectionExtension(), tlsExtension(),
		authExtension(), unauthenticateExtension(cfg), idExtension(), enableExtension(),
		idleExtension(), notifyExtension(), multiSearchExtension(),
		namespaceExtension(), folderExtension(), listExtension(), lsubExtension(), statusExtension(), specialUseExtension(),
		selectExtension(), unselectExtension(), fetchExtension(), binaryExtension(), storeExtension(),
		searchExtension(), sortExtension(), contextExtension(), threadExtension(),
		copyExtension(), moveExtension(), expungeExtension(),
		appendExtension(cfg), catenateExtension(), urlAuthExtension(cfg), utf8Extension(),
		withinExtension(), saveDateExtension(), condstoreExtension(), qresyncExtension(), compressExtension(),
		replaceExtension(), partialExtension(), inProgressExtension(), previewExtension(), aclExtension(),
		objectIDExtension(), uidOnlyExtension(cfg), quotaExtension(), metadataExtension(),
	}
}

// enabler is a capability that ENABLE can turn on.
type enabler struct {
	name imap.Cap
	// on turns it on, and reports whether it was off.
	on func(*session) bool
	// then, if not nil, is called after the ENABLED response was written.
	then func(*session) error
}
