package imap

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
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
	enc, err := htmlindex.Get(name)
	if err != nil {
		enc, err = ianaindex.MIME.Encoding(name)
	}
	if err != nil || enc == nil || enc == encoding.Replacement {
		return nil, false
	}
	return func(b []byte) ([]byte, error) {
		text, err := enc.NewDecoder().Bytes(b)
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
