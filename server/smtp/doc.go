// Package smtp accepts mail over SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033),
// and passes it to package delivery. It owns no file format.
//
// The server of go-smtp is not used: it refuses <Postmaster>, does not recognise the end of a
// message in CR CR LF . CR LF, loses the CR after a leading dot, has a single limit for
// commands and for lines of a message, and turns plain errors into permanent failures that
// reveal their text. Its types SMTPError and EnhancedCode are used between the two halves of
// this package, and its client is the independent client of the tests. Its Session interface
// does not separate the halves, because a message in BDAT chunks arrives in several commands,
// each with a reply, while Session.Data reads it in one call.
//
// The protocol half: wire.go reads lines and flushes replies, conn.go has the command loop, and
// verbs.go the command table. Each command has a file of its own, except for the short ones in
// simple.go. text.go converts what follows DATA and BDAT to text with LF line ends, header.go
// and firstline.go inspect that text, and address.go parses addresses. The policy half:
// session.go holds the mail transaction, recipients.go decides who gets mail for an address,
// memory.go bounds what recipients take, submission.go decides what a user may send, trace.go writes
// the fields at the top of a message, deliver.go stores and logs it, relaying.go sends mail for
// other domains through the relay (package relay), and revoke.go ends the session of a user
// whose login has been revoked.
//
// Each connection has one goroutine. Replies to MAIL, RCPT and RSET are flushed when all input has
// been processed, so that a pipelined group gets its replies in one packet, and others at once. A
// message is stored as it arrives and never held in memory as a whole. No part of an address ever
// becomes part of a file name: it is only compared with the table of users.
//
// To add an SMTP extension, add its EHLO keyword to extensions.go and its command, if it has
// one, to the table in verbs.go; parse its parameters in mail.go and rcpt.go, and keep them in
// envelope or accepted; implement their meaning in session. Add its dialogue to testdata/smtp.
package smtp
