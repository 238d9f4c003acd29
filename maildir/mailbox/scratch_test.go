package mailbox

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"testing"

	"maildird/maildir/compress"
)

// TestScratchOfAccount: the folders of an account share the limit on the temporary disk
// space for their open messages.
func TestScratchOfAccount(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(append([]byte("Subject: bomb\n\n"), bytes.Repeat([]byte{'x'}, 1<<20)...))
	must(t, err)
	must(t, w.Close())

	env := newEnv(t).Of("alice")
	if env.Scratch == nil {
		t.Fatal("no bound")
	}
	env.Scratch = compress.NewScratch(3 << 19)
	var views []*View
	var messages []Message
	for range 2 {
		b := newBox(t)
		must(t, os.WriteFile(b.file("cur/1700000001.M1P1.other:2,"), packed.Bytes(), 0o600))
		m := b.open(env)
		defer m.Close()
		v := view(t, m)
		views = append(views, v)
		for msg := range v.Messages([]Range{{1, 1}}, false) {
			messages = append(messages, msg)
		}
	}
	first, err := openText(views[0], messages[0])
	must(t, err)
	if _, err := openText(views[1], messages[1]); !errors.Is(err, compress.ErrScratch) {
		t.Errorf("the second one: %v", err)
	}
	must(t, first.Close())
	second, err := openText(views[1], messages[1])
	must(t, err)
	must(t, second.Close())
}
