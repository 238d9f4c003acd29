package message

import (
	"bytes"
	"testing"

	"maildird/scripts/mailgen"
)

// BenchmarkEnvelope parses the headers of generated mail, one per iteration.
func BenchmarkEnvelope(b *testing.B) {
	headers := make([][]byte, 256)
	for i := range headers {
		text := inCRLF(mailgen.Message(i))
		headers[i] = text[:bytes.Index(text, []byte("\r\n\r\n"))+4]
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ParseEnvelope(headers[i%len(headers)])
	}
}
