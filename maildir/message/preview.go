package message

import (
	"bufio"
	"bytes"
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
	// previewSource is the maximum number of bytes of a part, decoded, that are read for a
	// preview. Newsletters have long style sheets before their text.
	previewSource = 256 << 10
	// previewParts is the maximum number of parts that are read to find one with text.
	previewParts = 4
)

// Preview returns the beginning of the text that a person reads in a message, on one line
// (RFC 8970): that of the first text/plain or text/html part that has text and is not an
// attachment. Among alternatives, text/plain is tried first. It leaves out quoted text and
// the signature, unless there is nothing else. root is the message's structure. If there is
// no text, it returns "".
func Preview(src io.ReaderAt, root *Part) (string, error) {
	for _, p := range textParts(nil, root) {
		text := &previewWriter{}
		r := io.LimitReader(decodeText(src, p), previewSource)
		var err error
		if isSubtype(p, "html") {
			err = text.html(r)
		} else {
			err = text.plain(r)
		}
		if err != nil {
			return "", err
		}
		if line := text.line(); line != "" {
			return line, nil
		}
	}
	return "", nil
}

// textParts appends the parts whose text is displayed in the message, in the order in which
// they are tried. It does not search messages inside the message.
func textParts(list []*Part, p *Part) []*Part {
	switch {
	case len(list) == previewParts || strings.EqualFold(p.Disposition, "attachment"):
	case isSubtype(p, "plain") || isSubtype(p, "html"):
		list = append(list, p)
	case p.Multipart() && strings.EqualFold(p.Subtype, "alternative"):
		for _, plain := range []bool{true, false} {
			for _, child := range p.Children {
				if isSubtype(child, "plain") == plain {
					list = textParts(list, child)
				}
			}
		}
	case p.Multipart():
		for _, child := range p.Children {
			list = textParts(list, child)
		}
	}
	return list
}

// isSubtype reports whether a part is of type text/subtype.
func isSubtype(p *Part, subtype string) bool {
	return strings.EqualFold(p.Type, "text") && strings.EqualFold(p.Subtype, subtype)
}

// previewWriter collects words until the preview is long enough.
type previewWriter struct {
	own   previewLine
	other previewLine // quoted text and the signature
}

func (w *previewWriter) line() string {
	if w.own.count == 0 {
		return w.other.b.String()
	}
	return w.own.b.String()
}

func (w *previewWriter) plain(r io.Reader) error {
	lines := bufio.NewReader(r)
	to := &w.own
	for first, signature := true, false; !w.own.full(); {
		line, err := lines.ReadSlice('\n')
		if first {
			separator := string(bytes.TrimRight(line, "\r\n")) == "-- "
			signature = signature || separator
			to = &w.own
			if signature || len(line) > 0 && line[0] == '>' {
				to = &w.other
				line = bytes.TrimLeft(line, "> ")
			}
			if separator {
				line = nil
			}
		}
		to.text(line)
		first = err == nil
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	return nil
}

// html adds the text that a browser would display. The head needs no attention, and often
// has no end tag: the elements in it that contain text are hidden anyway.
func (w *previewWriter) html(r io.Reader) error {
	z := html.NewTokenizer(r)
	hidden, quoted := 0, 0 // depth inside such elements
	for !w.own.full() {
		token := z.Next()
		switch token {
		case html.ErrorToken:
			if z.Err() == io.EOF {
				return nil
			}
			return z.Err()
		case html.TextToken:
			switch {
			case hidden > 0:
			case quoted > 0:
				w.other.text(z.Text())
			default:
				w.own.text(z.Text())
			}
			continue
		case html.SelfClosingTagToken:
			z.NextIsNotRawText() // "<title/>", by programs that write XML, is an empty element
		case html.StartTagToken, html.EndTagToken:
			name, _ := z.TagName()
			depth := &hidden
			if string(name) == "blockquote" {
				depth = &quoted
			} else if !hiddenElement(string(name)) {
				break
			}
			if token == html.StartTagToken {
				*depth++
			} else {
				*depth = max(0, *depth-1)
			}
		}
		w.own.blank()
		w.other.blank()
	}
	return nil
}

func hiddenElement(name string) bool {
	switch name {
	case "style", "script", "title", "template", "noscript", "noframes", "noembed", "iframe":
		return true
	}
	return false
}

// previewLine is text on one line, of at most previewLength characters.
type previewLine struct {
	b     strings.Builder
	count int  // characters
	space bool // before the next character
	last  rune
}

func (l *previewLine) full() bool { return l.count >= previewLength }

// blank separates what follows from what precedes.
func (l *previewLine) blank() { l.space = l.count > 0 }

func (l *previewLine) text(s []byte) {
	for len(s) > 0 && !l.full() {
		r, n := utf8.DecodeRune(s)
		s = s[n:]
		switch {
		case r == '\ufeff' || r == utf8.RuneError && n == 1:
		case unicode.IsSpace(r) || unicode.IsControl(r):
			l.blank()
		case r == utf8.RuneError && l.last == r && !l.space:
			// One stands for any amount of text that cannot be decoded.
		case (l.space || l.count == 0) && invisible(r):
			// Newsletters fill the rest of the preview with these.
		default:
			l.add(r)
		}
	}
}

func (l *previewLine) add(r rune) {
	if l.space {
		if l.count++; l.full() {
			return
		}
		l.b.WriteByte(' ')
		l.space = false
	}
	l.b.WriteRune(r)
	l.count++
	l.last = r
}

// invisible reports whether a character is not displayed itself, because it only joins
// others or affects their layout.
func invisible(r rune) bool { return r == '\u034f' || unicode.Is(unicode.Cf, r) }
