// Package syntax is IMAP as it stands on the wire (RFC 9051 section 9, RFC 3501):
// Lexer takes commands apart into atoms, strings, literals, numbers, dates, sets
// and names of mailboxes, and Writer puts responses together of them.
//
// It knows no command: which arguments one has, and what they mean, is for the
// caller. Both bound what a peer can make them hold in memory, take what came in
// pieces of any size, and do without allocation for what is short.
package syntax
