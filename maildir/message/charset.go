package message

import (
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// CharsetDecoder returns what turns text of a charset into UTF-8, by any of the names
// that mail has for it; nil for a charset that is not known. It is for one goroutine.
func CharsetDecoder(name string) *encoding.Decoder {
	name = strings.ToLower(name)
	if label, ok := moreCharsets[name]; ok {
		name = label
	}
	if name == "utf-7" {
		return &encoding.Decoder{Transformer: &utf7{}}
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement { // which browsers do not read
		e, err = ianaindex.MIME.Encoding(name)
	}
	if err != nil || e == nil {
		return nil
	}
	return e.NewDecoder()
}

// moreCharsets are names that neither browsers nor IANA know and mail has, and those
// of UTF-7.
var moreCharsets = map[string]string{
	"cp932": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "cp950": "big5",
	"utf16": "utf-16", "unicode-1-1-utf-7": "utf-7", "utf7": "utf-7",
}

// isUTF8 tells whether text of a charset is UTF-8 as it stands.
func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "us-ascii", "ascii", "utf-8", "utf8":
		return true
	}
	return false
}

// charsetReader reads text of a charset as UTF-8. One that is not known is taken for
// UTF-8.
func charsetReader(charset string, r io.Reader) io.Reader {
	if isUTF8(charset) {
		return r
	}
	d := CharsetDecoder(charset)
	if d == nil {
		return r
	}
	return transform.NewReader(r, d)
}
