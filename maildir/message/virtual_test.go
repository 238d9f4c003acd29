package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// lengths around which a chunk ends, and small ones.
var lengths = []int{0, 1, 2, 3, 7, 100, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 3*chunk + 5}

func TestVirtualSizeIsThatOfTheCRLFForm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range lengths {
		for round := range 2 {
			data := lineEndText(rng, n, round%2 == 0)
			want := int64(len(inCRLF(data)))
			got, nul, err := RawSize(bytes.NewReader(data), int64(n))
			if err != nil || got != want || nul != (bytes.IndexByte(data, 0) >= 0) {
				t.Fatalf("%d bytes: %d, NUL %v, %v, want %d", n, got, nul, err, want)
			}
			if got, err := VirtualSize(bytes.NewReader(data), int64(n)); err != nil || got != want {
				t.Fatalf("%d bytes: %d, %v, want %d", n, got, err, want)
			}
		}
	}
}

// TestAnyPieceIsASliceOfTheWhole copies pieces, starting at places where earlier copies
// ended, and compares them with slices of the whole.
func TestAnyPieceIsASliceOfTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for round := range 300 {
		length := rng.IntN(100)
		if round%10 == 0 {
			length = lengths[rng.IntN(len(lengths))]
		}
		data := lineEndText(rng, length, round%2 == 0)
		raw := inCRLF(data)
		whole := withoutNUL(raw)
		src := bytes.NewReader(data)
		end := Pos{int64(len(data)), int64(len(whole))}
		from := Pos{}
		if len(data) > 0 && rng.IntN(2) > 0 {
			from.Phys = int64(rng.IntN(len(data)))
			from.Virt = int64(len(inCRLF(data[:from.Phys])))
		}
		skip, limit := int64(rng.IntN(len(whole)+3)), int64(rng.IntN(len(whole)+3))-1
		var out bytes.Buffer
		n, at, err := CopyVirtual(&out, src, from, end, skip, limit)
		want := whole[min(int64(len(whole)), from.Virt+skip):]
		if limit >= 0 {
			want = want[:min(int64(len(want)), limit)]
		}
		if err != nil || n != int64(len(want)) || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("round %d: %d octets, want %d: %v", round, n, len(want), err)
		}
		if at.Virt != int64(len(inCRLF(data[:at.Phys]))) || at.Virt > from.Virt+skip+n {
			t.Fatalf("round %d: the copy of %d octets from %d on ended at %v", round, n, from.Virt+skip, at)
		}
		// The next piece can be copied from there.
		out.Reset()
		rest := whole[min(int64(len(whole)), from.Virt+skip+n):]
		if n, _, err := CopyVirtual(&out, src, at, end, max(0, from.Virt+skip+n-at.Virt), -1); err != nil || !bytes.Equal(out.Bytes(), rest) {
			t.Fatalf("round %d: then %d octets, want %d: %v", round, n, len(rest), err)
		}
		out.Reset()
		want = raw[min(int64(len(raw)), skip):]
		if n, err := CopyRaw(&out, src, int64(len(data)), skip, -1); err != nil || n != int64(len(want)) || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("round %d: raw %d octets, want %d: %v", round, n, len(want), err)
		}
	}
}

func TestReaderOfTheCRLFForm(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range append(lengths, 4095, 4096, 4097) {
		data := lineEndText(rng, n, n > 100)
		from := int64(rng.IntN(n + 1))
		got, err := io.ReadAll(newVirtualReader(bytes.NewReader(data), Pos{Phys: from}, Pos{Phys: int64(n)}))
		want := inCRLF(data)[len(inCRLF(data[:from])):]
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes from %d on: %d octets, want %d: %v", n, from, len(got), len(want), err)
		}
	}
}

// TestFileGotShorter reads a file that was truncated after it was opened.
func TestFileGotShorter(t *testing.T) {
	src := bytes.NewReader([]byte("Subject: x\n\nbody\n"))
	const was = 1 << 20
	if n, err := VirtualSize(src, was); err != nil || n != 20 {
		t.Errorf("VirtualSize: %d, %v", n, err)
	}
	if root, err := Parse(src, was); err != nil || root.End.Phys != 17 {
		t.Errorf("Parse: %+v, %v", root, err)
	}
	if _, body, err := ReadHeader(nil, src, was, 100); err != nil || body.Phys != 12 {
		t.Errorf("ReadHeader: %+v, %v", body, err)
	}
	var out bytes.Buffer
	if n, _, err := CopyVirtual(&out, src, Pos{12, 14}, Pos{was, was}, 0, -1); err != nil || n != 6 {
		t.Errorf("CopyVirtual: %d, %v", n, err)
	}
}
