// Package imap speaks IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) to clients
// and serves them the mailboxes of package maildir. It owns no file format.
//
// How a command runs. Each connection has one goroutine, which is its session
// (session.go). The session takes a command line from the lexer (package
// syntax), looks its name up in the grammar (command.go, grammar.go), and
// calls the handler. A handler first takes all its arguments from the lexer up
// to the end of the line, then acts, writes its untagged responses to the
// writer (package syntax), and returns nil or an error. The dispatcher adds what
// changed in the selected mailbox (updates.go) and the tagged response, which
// it makes from the error (errors.go).
//
// The protocol is made of extensions (extension.go): each is one file that
// brings commands, capabilities, and words for the places of the grammar that
// can be extended (items of FETCH and STATUS, keys of SEARCH, parameters of SELECT,
// CREATE, FETCH and STORE, options of LIST and SEARCH, data of APPEND). To add
// one, add that file, its transcripts in testdata/imap, and its name to the list
// extensions. within.go is a small one to start from.
//
// What needs no session has packages of its own: the connection underneath (wire,
// deflate), the wire syntax (syntax), URLs (imapurl), names with wildcards (pattern),
// case-insensitive text (casemap), what SEARCH tests and how it finds it (search), what
// SORT and THREAD compare and how threads are built (order, thread), what FETCH says
// about a header and parts (render), and reading one message from the cache or its file
// (mailfile).
//
// What takes more than one file here:
//
//   - FETCH: fetchitems.go is what a client asks for, fetchrun.go goes through the
//     messages, fetchqueue.go reads their files ahead, fetchpart.go finds a section
//     in one of them, and fetch.go writes its response.
//   - SEARCH: searchkeys.go parses what a client asks for, searchwords.go has the keys
//     of the base protocol, package search finds the messages, and search.go answers;
//     context.go and contextfollow.go keep an answer up to date.
//   - SORT: sortremembered.go uses an order that the mailbox remembers, sortkeys.go
//     makes a new one, and sortplaces.go finds where messages belong in one.
//   - NOTIFY: notify.go parses the command and mailboxfilter.go the mailboxes it is
//     for; notifier.go, notifytree.go and notifymetadata.go send the notifications.
//
// Output is flushed when the input is drained or the buffer is full, not line by
// line. A connection that waits for its client holds no buffers.
//
// MESSAGELIMIT (RFC 9738) is not announced: its capability must name the number of
// messages beyond which a command is answered only in part, and commands here are
// answered completely, however many messages they are for.
//
// imapserver of go-imap/v2 is not used: its set of commands is closed and it
// re-encodes header text. Its data types are the vocabulary here.
package imap
