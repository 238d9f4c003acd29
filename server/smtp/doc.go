// Package smtp takes mail over SMTP (RFC 5321), submission (RFC 6409) and LMTP
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
// The engine half knows the protocol: wire.go reads lines and flushes replies,
// conn.go has the loop of commands, verbs.go their table; each verb has its file, but
// for the short ones in simple.go; text.go turns what follows DATA and BDAT into text
// with LF line ends, which header.go and firstline.go watch, and address.go takes addresses
// apart. The session half knows what is wanted: session.go holds a mail
// transaction, recipients.go says whose an address is, submission.go what a user may send,
// trace.go writes what is put on top of a message, deliver.go stores it and logs it,
// relaying.go has what is for other domains go through the relay (package relay), revoke.go
// ends it for a user who may not be there any more.
//
// A connection has one goroutine. Replies are flushed when the input is used
// up, so that a pipelined group gets its answers in one packet. A message is
// stored while it comes and never held as a whole. Nothing of an address is
// ever part of a file name: the users table decides, by equality.
//
// To add an extension of SMTP: the word that EHLO announces it by is in
// extensions.go, a command of it goes into the table in verbs.go, its parameters
// are taken in mail.go and rcpt.go and kept in envelope or accepted, what it means
// is the session's. Its dialogue goes into testdata/smtp.
package smtp
