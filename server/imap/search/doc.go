// Package search tests the messages of a view against the keys of SEARCH, cheap keys first, and
// on several processors if files must be read. It knows nothing about sessions: whoever
// searches is represented by an Asker. Package imap parses the words of the protocol into keys,
// and writes the responses.
//
// key.go defines the keys, plan.go prepares them for a mailbox, match.go tests a message,
// text.go searches its header and text, and run.go iterates over the messages.
package search
