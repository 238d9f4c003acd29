package message

import (
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// CharsetDecoder returns a decoder from a charset, by any name that occurs in mail, to
// UTF-8, and nil for an unknown charset. The decoder is for use by one goroutine.
func CharsetDecoder(name string) *encoding.Decoder {
	name = strings.ToLower(name)
	if label, ok := moreCharsets[name]; ok {
		name = label
	}
	if name == "utf-7" {
		return &encoding.Decoder{Transformer: &utf7{}}
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement { // one that browsers refuse
		e, err = ianaindex.MIME.Encoding(name)
	}
	if err != nil || e == nil {
		return nil
	}
	return e.NewDecoder()
}

// moreCharsets are names that occur in mail and are known neither to browsers nor to IANA,
// and those of UTF-7.
var moreCharsets = map[string]string{
	"cp932": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "cp950": "big5",
	"utf16": "utf-16", "unicode-1-1-utf-7": "utf-7", "utf7": "utf-7",
}

// isUTF8 reports whether text in a charset is UTF-8 already.
func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "us-ascii", "ascii", "utf-8", "utf8":
		return true
	}
	return false
}

// charsetReader returns a reader that converts text from a charset to UTF-8. Text in an
// unknown charset is left as it is.
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
