package message

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

const (
	// previewLength is the maximum number of characters in a preview (the recommendation of
	// RFC 8970 section 3.2).
	previewLength = 200
	// previewSource is how many bytes of decoded text are examined for a preview.
	previewSource = 32 << 10
)

// Preview returns the beginning of the text that a person reads in a message, on one line
// (RFC 8970): that of the first text/plain part that is not an attachment, or else of the
// first text/html part. It leaves out quoted lines. root is the message's structure. If
// there is no such text, it returns "".
func Preview(src io.ReaderAt, root *Part) (string, error) {
	p := textPart(root, "plain")
	if p == nil {
		p = textPart(root, "html")
	}
	if p == nil {
		return "", nil
	}
	text, err := io.ReadAll(io.LimitReader(decodeText(src, p), previewSource))
	if err != nil {
		return "", err
	}
	out := &previewWriter{}
	if strings.EqualFold(p.Subtype, "html") {
		out.html(string(text))
	} else {
		out.plain(string(text))
	}
	return out.b.String(), nil
}

// textPart finds the first part of text/subtype that is displayed in the message. It does
// not search messages inside the message.
func textPart(p *Part, subtype string) *Part {
	if strings.EqualFold(p.Disposition, "attachment") {
		return nil
	}
	if strings.EqualFold(p.Type, "text") && strings.EqualFold(p.Subtype, subtype) {
		return p
	}
	if !p.Multipart() {
		return nil
	}
	for _, child := range p.Children {
		if found := textPart(child, subtype); found != nil {
			return found
		}
	}
	return nil
}

// previewWriter collects words until the preview is long enough.
type previewWriter struct {
	b     strings.Builder
	count int  // characters
	space bool // before the next character
}

func (w *previewWriter) full() bool { return w.count >= previewLength }

func (w *previewWriter) text(s string) {
	for len(s) > 0 && !w.full() {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch {
		case r == '\ufeff' || r == utf8.RuneError && n == 1:
		case unicode.IsSpace(r) || unicode.IsControl(r):
			w.space = w.count > 0
		default:
			if w.space {
				if w.count++; w.full() {
					return
				}
				w.b.WriteByte(' ')
				w.space = false
			}
			w.b.WriteRune(r)
			w.count++
		}
	}
}

func (w *previewWriter) plain(text string) {
	for line := range strings.Lines(text) {
		if w.full() {
			return
		}
		if strings.HasPrefix(line, ">") {
			continue
		}
		if strings.TrimRight(line, "\r\n") == "-- " {
			return // the signature
		}
		w.text(line)
	}
}

// html adds the text that a browser would display.
func (w *previewWriter) html(text string) {
	z := html.NewTokenizer(strings.NewReader(text))
	hidden := 0 // depth inside elements that are not displayed
	for !w.full() {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.TextToken:
			if hidden == 0 {
				w.text(string(z.Text()))
			}
		case html.StartTagToken:
			if name, _ := z.TagName(); hiddenElement(string(name)) {
				hidden++
			}
			w.space = w.count > 0
		case html.EndTagToken:
			if name, _ := z.TagName(); hidden > 0 && hiddenElement(string(name)) {
				hidden--
			}
			w.space = w.count > 0
		case html.SelfClosingTagToken:
			w.space = w.count > 0
		}
	}
}

func hiddenElement(name string) bool {
	switch name {
	case "head", "style", "script", "title", "blockquote", "template", "noscript":
		return true
	}
	return false
}
