// Package syntax implements the syntax of IMAP (RFC 9051 section 9, RFC 3501): Lexer splits
// commands into atoms, strings, literals, numbers, dates, sets and mailbox names, and Writer
// composes responses of them.
//
// The package knows no commands: the caller decides which arguments a command has and what they
// mean. Both types bound the memory that a peer can occupy, accept input in pieces of any size,
// and do not allocate for short items.
//
// lexer.go reads input and keeps the first error, tokens.go takes words, strings and mailbox names,
// literal.go literals, numbers.go numbers and sets, dates.go dates, and section.go sections such
// as BODY[1.HEADER]. writer.go is the Writer.
package syntax
