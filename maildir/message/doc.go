// Package message reads the text of mail: header fields, MIME structure, line
// ends, encodings. It works on files as they lie in a Maildir and knows nothing
// of protocols, but for the form in which they want a message:
//
// A file may have LF or CRLF line ends, or both. In CRLF form each LF that no
// CR stands before is CRLF; a bare CR stays. That form is called virtual here,
// as Dovecot calls it, and positions say where something is in both.
//
// Where what is:
//
//   - The text as octets: virtual.go counts and converts line ends, sparse.go passes
//     over holes, binary.go and decode.go undo transfer encodings and charsets.
//   - The header: header.go finds it and its fields, fieldset.go those of a list,
//     address.go, date.go, msgid.go and subject.go read what stands in some.
//     envelope.go and order.go gather what ENVELOPE, and SORT and THREAD, need.
//   - The structure: parse.go finds the parts (part.go), mime.go and rfc2231.go read
//     the fields that describe them; encode.go writes parts down for the cache.
//   - preview.go makes the beginning of a text that people read.
//
// What a client is answered of all this is written by package render of the IMAP
// server, and what is kept of it by package cache.
package message
