// Package message parses mail: header fields, MIME structure, line ends, encodings. It
// works on files as they are in a Maildir, and knows nothing of protocols except the form
// in which they need a message:
//
// A file may have LF or CRLF line ends, or both. In CRLF form, each LF without a CR before
// it becomes CRLF; a bare CR is kept. This package calls that form virtual, as Dovecot
// does, and a position has an offset in both forms.
//
// This is where to find things:
//
//   - The text as octets: virtual.go counts and converts line ends, sparse.go skips holes,
//     binary.go and decode.go decode transfer encodings, binarycte.go encodes parts of
//     encoding binary, charset.go and utf7.go decode charsets.
//   - The header: header.go finds it and its fields, fieldset.go selects fields by name,
//     address.go, date.go, msgid.go and subject.go parse the values of some, and
//     encodedword.go decodes encoded words. envelope.go and order.go collect what ENVELOPE,
//     and SORT and THREAD, need.
//   - The structure: parse.go finds the parts (part.go), mime.go and rfc2231.go parse the
//     fields that describe them, and encode.go encodes parts for the cache.
//   - preview.go extracts the beginning of the text that people read.
//
// Package render of the IMAP server turns all this into responses for clients, and package
// cache keeps the results.
package message
