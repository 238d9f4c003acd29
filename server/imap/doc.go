// Package imap serves mailboxes of package maildir to clients over IMAP4rev1 (RFC 3501)
// and IMAP4rev2 (RFC 9051). It owns no file format.
//
// How a command runs. Each connection has a session (session.go), which one goroutine
// runs. The session reads a command line through the lexer (package syntax), looks up
// the command in the grammar (command.go, grammar.go), and calls its handler. A handler
// first takes all its arguments from the lexer, up to the end of the line, then acts,
// writes its untagged responses to the writer (package syntax), and returns nil or an
// error. The dispatcher then writes the untagged responses for what changed in the
// selected mailbox (updates.go), and the tagged response, which it derives from the
// error (errors.go).
//
// The protocol is assembled from extensions (extension.go). Each is one file that adds
// commands, capabilities, and words where the grammar can be extended: items of FETCH
// and STATUS, keys of SEARCH, parameters of SELECT, CREATE, FETCH and STORE, options of
// LIST and SEARCH, data of APPEND. To add an extension, add its file, its name to the
// list in extensions, its dialogues to testdata/imap (package dialogue describes their
// format), and its capabilities to testdata/imap-capabilities.txt and to README. within.go
// is a small one to start from.
//
// Code that needs no session is in packages of its own: the connection underneath
// (wire, deflate), the syntax of commands and responses (syntax), URLs (imapurl), names
// with wildcards (pattern), case-insensitive text (casemap), what SEARCH tests and how
// it finds it (search), what SORT and THREAD compare and how threads are built (order,
// thread), what FETCH returns about a header and body parts (render), and reading one
// message from the cache or its file (mailfile).
//
// Features that span several files here:
//
//   - FETCH: fetchitems.go parses what a client asks for, fetchrun.go iterates over the
//     messages, fetchqueue.go reads their files ahead, fetchpart.go finds a section of
//     a message, and fetch.go writes the response. omissions.go collects why messages
//     could not be served, for SEARCH and SORT as well.
//   - SEARCH: searchkeys.go parses what a client asks for, searchwords.go defines the
//     keys of the base protocol, package search finds the messages, and search.go
//     writes the response; context.go and contextfollow.go keep a result up to date.
//   - SORT: sortremembered.go uses an order that the mailbox remembers, sortkeys.go
//     sorts anew, and sortplaces.go finds the positions of messages in an order.
//   - NOTIFY: notify.go parses the command and mailboxfilter.go the mailboxes that it
//     is for; notifier.go, notifytree.go and notifymetadata.go send the notifications.
//
// Output is flushed when all input has been processed or the buffer is full, not line
// by line. A connection that waits for its client holds no buffers.
//
// MESSAGELIMIT (RFC 9738) is not announced: its capability must name the number of
// messages beyond which the server processes a command only in part, and this server
// always processes commands completely.
//
// imapserver of go-imap/v2 is not used, because its set of commands is closed, it ends the
// connection on a syntax error, and it re-encodes header text. Only its data types are used.
package imap
