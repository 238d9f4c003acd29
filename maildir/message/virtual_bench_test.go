package message

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkVirtual converts a text with lines of usual lengths to CRLF form, both as it is
// in a Maildir and if it already has that form.
func BenchmarkVirtual(b *testing.B) {
	line := "what stands in a line of mail, seventy octets or so, ends with this LF\n"
	text := []byte(strings.Repeat(line+"\n"+line[20:]+line, 40))
	for _, q := range []struct {
		name string
		text []byte
	}{{"LF", text}, {"CRLF", AppendVirtual(nil, text, 0)}} {
		b.Run("append/"+q.name, func(b *testing.B) {
			b.SetBytes(int64(len(q.text)))
			out := make([]byte, 0, 2*len(text))
			for b.Loop() {
				out = AppendVirtual(out[:0], q.text, 0)
			}
		})
		b.Run("copy/"+q.name, func(b *testing.B) {
			b.SetBytes(int64(len(q.text)))
			src := strings.NewReader(string(q.text))
			for b.Loop() {
				if _, _, err := CopyVirtual(io.Discard, src, Pos{}, Pos{Phys: src.Size(), Virt: 2 * src.Size()}, 0, -1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
