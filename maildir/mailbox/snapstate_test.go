package mailbox

import (
	"bytes"
	"testing"

	"maildird/maildir/filename"
	"maildird/maildir/octets"
)

// FuzzState decodes arbitrary octets as the state in a snapshot.
func FuzzState(f *testing.F) {
	s := &state{run: 7, settled: true, validity: 3, uidNext: 9, guid: "guid", list: []byte("list"), hist: []byte("history"),
		inNew: []uint32{1}, unsettled: []uint32{3, 2}, dated: []uint32{0, 0}, strays: []uint32{1 << 30}, was: []pastFlags{{2, filename.Seen}}}
	s.names[3] = "word"
	f.Add(s.encode(), uint32(4))
	f.Add(s.encode(), uint32(3))
	f.Add((&state{}).encode(), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, rows uint32) {
		d := &octets.Decoder{Rest: b}
		s := takeState(d)
		s.fits(rows)
		if d.Bad {
			return
		}
		again := s.encode()
		if d := (&octets.Decoder{Rest: again}); !bytes.Equal(takeState(d).encode(), again) || d.Bad || len(d.Rest) > 0 {
			t.Errorf("a state that was read cannot be read again: %+v", s)
		}
	})
}

// TestStateFits: a state that mentions rows which the table does not have is rejected,
// whichever of its lists mentions them.
func TestStateFits(t *testing.T) {
	for _, s := range []state{
		{inNew: []uint32{1, 4}}, {unsettled: []uint32{4}}, {dated: []uint32{4, 1}}, {was: []pastFlags{{4, 0}}},
	} {
		if s.fits(4) || !s.fits(5) {
			t.Errorf("%+v fits a table of 4: %v, of 5: %v", s, s.fits(4), s.fits(5))
		}
	}
}
