package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// isync is the data that isync 1.4.4 sends after COMPRESS, one write per line, each terminated
// by zlib's partial flush.
var isync = []struct{ octets, text string }{
	{"3256f073f4750d0e707476e5e50208", "3 NAMESPACE\r\n"},
	{"2013051fcfe01005252505252d255e2e8000", "4 LIST \"\" \"*\"\r\n"},
	{"32550876f57175060a78fa39f94700450002", "5 SELECT \"INBOX\"\r\n"},
	{"c84c21d4d345c1cd35c4d943c1d0cad8504103ccf771740fd6e4e50208", "6 UID FETCH 1:31 (UID FLAGS)\r\n"},
	{"c0371de32008454114dd0aa595e1cd038112c32f88068da131c6fd6f03caf9cdade7762733f8da5cd66d2f9f6d7e2ef35e9afb6bf95edfa53c7effb3" +
		"1cad149693958965b496769c86a53da7b2f4c6695a3a70da593a72da5b3a715af1b4dc5658ac15ce15ec150e162c26170b269393059bc9cd82d1e468" +
		"c16a72b56036395bb09bdc4dec267713bba9ba19bbc9ddc46ee96e62b77437b15bba9bd82ddd4dec96ee26764b7713bba5bb25bba5bb25bb1d02", isyncFetches()},
}

func isyncFetches() string {
	var b strings.Builder
	for n := range 31 {
		fmt.Fprintf(&b, "%d UID FETCH %d (INTERNALDATE BODY.PEEK[])\r\n", n+7, n+1)
	}
	return b.String()
}

// TestInflateAtOnce sends the data of isync, and waits for the text of each write before it
// sends the next, as isync waits for the answer.
func TestInflateAtOnce(t *testing.T) {
	client, server := net.Pipe()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- inflate(in, server)
		in.Close()
	}()
	for _, step := range isync {
		octets, err := hex.DecodeString(step.octets)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(octets); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(step.text))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != step.text {
			t.Fatalf("got %q, %v; want %q", got, err, step.text)
		}
	}
	client.Close()
	if rest, err := io.ReadAll(out); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v follow", rest, err)
	}
	if err := <-ended; err != io.EOF {
		t.Errorf("a stream that was cut ends with %v", err)
	}
}

// TestInflate decompresses the output of the standard library.
func TestInflate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 200_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, text := range map[string][]byte{
		"nothing": nil,
		"text":    []byte(strings.Repeat("Received: from mail.example.org by mx.example.org; ", 5000)),
		"noise":   noise,
		"mixed":   append(bytes.Repeat([]byte("abc"), 50_000), noise[:40_000]...),
		"zeros":   make([]byte, 300_000),
	} {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var packed, got bytes.Buffer
			w, err := flate.NewWriter(&packed, level)
			if err != nil {
				t.Fatal(err)
			}
			for rest := text; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(70_000))
				_, _ = w.Write(rest[:n])
				_ = w.Flush()
				rest = rest[n:]
			}
			_ = w.Close()
			if err := inflate(&got, &packed); err != nil || !bytes.Equal(got.Bytes(), text) {
				t.Errorf("%s at level %d: %v, %d octets of %d", name, level, err, got.Len(), len(text))
			}
		}
	}
}

// distances are streams of the text "a" in a dynamic block. Its code for distances has the
// given number of symbols, of which 30 have a meaning.
var distances = []struct {
	symbols int
	octets  string
}{{30, "05dd8100000000009056ff134e04"}, {31, "05de8100000000009056ff135204"}, {32, "05df8100000000009056ff135604"}}

// TestInflateDistances: more distance symbols than exist are refused, as by zlib.
func TestInflateDistances(t *testing.T) {
	for _, d := range distances {
		stream, err := hex.DecodeString(d.octets)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		err = inflate(&got, bytes.NewReader(stream))
		if d.symbols <= 30 && (err != nil || got.String() != "a") || d.symbols > 30 && !errors.Is(err, errInflate) {
			t.Errorf("%d distances: %q, %v", d.symbols, got.String(), err)
		}
	}
}

// FuzzInflate compares with the standard library: data that it accepts gives the same text, and
// data that it refuses is refused.
func FuzzInflate(f *testing.F) {
	for _, step := range isync {
		octets, _ := hex.DecodeString(step.octets)
		f.Add(octets)
	}
	for _, d := range distances {
		stream, _ := hex.DecodeString(d.octets)
		f.Add(stream)
	}
	for _, text := range []string{"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", isyncFetches()} {
		for _, level := range []int{0, 1, 9, flate.HuffmanOnly} {
			var packed bytes.Buffer
			w, _ := flate.NewWriter(&packed, level)
			_, _ = io.WriteString(w, text)
			_ = w.Close()
			f.Add(packed.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const most = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stream)), most))
		var got limitedBuffer
		err := inflate(&got, bytes.NewReader(stream))
		if len(want) == most || got.Len() >= most {
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("ended with %v, the standard library with %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("got %q, want %q", got.Bytes(), want)
		}
	})
}

// limitedBuffer accepts a megabyte.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len() >= 1<<20 {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

func BenchmarkInflate(b *testing.B) {
	text := []byte(strings.Repeat("The same line, as mail has them, and again. ", 1000))
	for i := range text {
		if i%7 == 0 {
			text[i] = byte('a' + i/7%26)
		}
	}
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 6)
	_, _ = w.Write(text)
	_ = w.Close()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := inflate(io.Discard, bytes.NewReader(packed.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
