package imap

import (
	"errors"
	"strings"
	"unicode/utf8"

	"maildird/maildir/message"
)

var errCharset = errors.New("some octets have no meaning in it")

// charsetDecoder returns a function that converts strings of a charset to UTF-8; false if
// the charset is unknown.
func charsetDecoder(name string) (func([]byte) ([]byte, error), bool) {
	switch strings.ToUpper(name) {
	case "UTF-8", "US-ASCII":
		// Clients that name US-ASCII but send UTF-8 mean UTF-8.
		return decodeUTF8, true
	}
	d := message.CharsetDecoder(name)
	if d == nil {
		return nil, false
	}
	return func(b []byte) ([]byte, error) {
		text, err := d.Bytes(b)
		if err != nil {
			return nil, errCharset
		}
		return text, nil
	}, true
}

func decodeUTF8(b []byte) ([]byte, error) {
	if !utf8.Valid(b) {
		return nil, errCharset
	}
	return b, nil
}
