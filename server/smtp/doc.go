// Package smtp accepts mail over SMTP (RFC 5321), submission (RFC 6409) and LMTP
// (RFC 2033) and hands it to package delivery. It owns no file format.
//
// The server half of go-smtp is not used: it refuses <Postmaster>, does not
// see the end of a message in CR CR LF . CR LF, loses the CR after a leading
// dot, has one limit for commands and for lines of a message, and turns plain
// errors into permanent failures that show their text. Its types (SMTPError,
// EnhancedCode) are the language between our two halves, and its client is the
// independent client of the tests. Its Session interface is not the border: a
// message in BDAT chunks comes in several commands, each with its reply, while
// Session.Data reads it in one call.
//
// The engine half knows the protocol: wire.go reads lines and flushes replies, conn.go
// has the command loop and verbs.go the table of commands. Each verb has a file, except
// for the short ones in simple.go. text.go turns what follows DATA and BDAT into text
// with LF line ends, which header.go and firstline.go watch, and address.go parses
// addresses. The session half knows the policy: session.go holds a mail transaction,
// recipients.go says whose an address is and submission.go what a user may send,
// trace.go writes the fields on top of a message, deliver.go stores and logs it,
// relaying.go sends mail for other domains through the relay (package relay), and
// revoke.go ends the session of a user whose login has been revoked.
//
// A connection has one goroutine. Replies are flushed when the input is used
// up, so that a pipelined group gets its replies in one packet. A message is
// stored as it arrives and never held as a whole. No part of an address ever
// becomes part of a file name: the table of users decides, by equality.
//
// To add an SMTP extension: put the keyword for EHLO into extensions.go and a new
// command into the table in verbs.go; take its parameters in mail.go and rcpt.go, and
// keep them in envelope or accepted; what it means is up to the session. Add its
// dialogue to testdata/smtp.
package smtp
