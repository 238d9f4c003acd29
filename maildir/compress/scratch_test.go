package compress

import (
	"bytes"
	"errors"
	"testing"
)

// TestScratch: long texts use scratch space until they are closed, one that does not fit
// returns what it took, and short ones need none.
func TestScratch(t *testing.T) {
	long := packed(t, Zstd, mail(1<<20))
	short := packed(t, Zstd, mail(100<<10))
	s := NewScratch(5 << 19) // two and a half
	open := func(data []byte) (*Plain, error) {
		return Open(bytes.NewReader(data), int64(len(data)), Limit, s)
	}
	var held []*Plain
	for range 2 {
		p, err := open(long)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	for range 3 {
		if _, err := open(long); !errors.Is(err, ErrScratch) {
			t.Fatalf("a third one: %v", err)
		}
		if p, err := open(short); err != nil {
			t.Fatal(err)
		} else if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range held {
		for range 2 { // a second time gives nothing back
			_ = p.Close()
		}
	}
	if used := s.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
	damaged := append(bytes.Clone(long[:len(long)-100]), "no end of it"...)
	if _, err := open(damaged); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	if used := s.used.Load(); used != 0 {
		t.Errorf("%d bytes are taken for a damaged file", used)
	}
}
