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

// charsetDecoder returns what turns strings of a charset into UTF-8; false for
// a charset that is not known.
func charsetDecoder(name string) (func([]byte) ([]byte, error), bool) {
	switch strings.ToUpper(name) {
	case "UTF-8", "US-ASCII":
		// Clients that say US-ASCII and send UTF-8 mean UTF-8.
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
