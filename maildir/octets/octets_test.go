package octets

import (
	"encoding/binary"
	"slices"
	"testing"
)

// TestDecoder decodes some data, complete and truncated at each octet: what is missing is
// zero, and the decoder reports it.
func TestDecoder(t *testing.T) {
	le := binary.LittleEndian
	form := []byte{7}
	form = le.AppendUint16(form, 1<<15)
	form = le.AppendUint64(form, 1<<63)
	form = AppendText(form, "text")
	form = AppendNumbers(form, []uint32{1, 1 << 31})
	form = AppendNumbers(form, nil)
	form = AppendText(form, "end")
	for end := range len(form) + 1 {
		d := Decoder{Rest: form[:end]}
		n := uint64(d.U8()) + uint64(d.U16()) + d.U64()
		text, list, none, last := string(d.Text()), d.Numbers(), d.Numbers(), string(d.Text())
		if whole := end == len(form); d.Bad == whole {
			t.Errorf("of %d octets %d: bad is %v", len(form), end, d.Bad)
		} else if !whole {
			if last != "" || d.Rest != nil || d.U32() != 0 || !d.Bad {
				t.Errorf("of %d octets %d: the last text is %q, and %d octets are left", len(form), end, last, len(d.Rest))
			}
		} else if n != 7+1<<15+1<<63 || text != "text" || !slices.Equal(list, []uint32{1, 1 << 31}) || none != nil || last != "end" || len(d.Rest) > 0 {
			t.Errorf("read %d, %q, %d, %d, %q, and %d octets are left", n, text, list, none, last, len(d.Rest))
		}
	}
}

// TestCountIsBounded: a number of items that would not fit is rejected.
func TestCountIsBounded(t *testing.T) {
	d := Decoder{Rest: append(binary.LittleEndian.AppendUint32(nil, 3), make([]byte, 11)...)}
	if n := d.Count(4); n != 0 || !d.Bad {
		t.Errorf("of 11 octets: %d things of 4, bad is %v", n, d.Bad)
	}
}
