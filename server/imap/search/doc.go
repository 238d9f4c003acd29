// Package search tests the messages of a view against the keys of SEARCH, the cheap
// ones first, and with several processors where files have to be read. It knows
// nothing of sessions: who searches is an Asker. The words of the protocol become
// keys in package imap, which writes the answers too.
//
// key.go has the keys, plan.go makes them ready for one mailbox, match.go tests one
// message, of which text.go looks at the header and the text, and run.go goes through
// all messages.
package search
