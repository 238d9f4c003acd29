package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/cache"
	"maildird/maildir/mailbox"
	"maildird/server/imap/mailfile"
)

// previewExtension is PREVIEW (RFC 8970). LAZY, which asks only for previews that are cheap,
// makes no difference: they all are.
func previewExtension() extension {
	return extension{
		caps: []imap.Cap{"PREVIEW"},
		fetchItems: words[fetchItems]{"PREVIEW": func(lx *lexer, items *fetchItems) {
			// A list after PREVIEW may also be the modifiers of FETCH itself.
			if lx.Follows(" (LAZY") {
				lx.SP()
				lx.List(func() {
					if string(lx.Word()) != "LAZY" {
						lx.Fail("Unknown PREVIEW modifier.")
					}
				})
			}
			items.addAttr(&previewAttr{})
		}},
	}
}

// previewAttr is the FETCH item PREVIEW.
type previewAttr struct{ text string }

func (*previewAttr) name() string     { return "PREVIEW" }
func (*previewAttr) needs() fetchNeed { return needBody }

func (*previewAttr) cachedAs() cache.Kind { return cache.Preview }

func (a *previewAttr) prepare(_ *session, _ mailbox.Message, mf *mailfile.File) (err error) {
	a.text, err = mf.Preview()
	return err
}

func (a *previewAttr) write(w *writer) { w.Str(a.text) }
