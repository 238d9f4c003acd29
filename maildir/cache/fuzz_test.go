package cache

import (
	"encoding/binary"
	"testing"
)

// FuzzParseRecord parses records with a correct checksum, so that all of their contents are
// examined: whatever is accepted has the same octets when it is encoded again.
func FuzzParseRecord(f *testing.F) {
	for row := range uint32(5) {
		r := sample(row)
		f.Add(appendRecord(nil, 1, Key{UID: row, Base: 2}, &r))
	}
	// A time in 1678, which can be represented in nanoseconds and is not accepted.
	f.Add([]byte("V\x13\xa0\b000000000000000000000000000\x8000000000\x00000"))
	f.Add([]byte{})
	f.Add(make([]byte, recordHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < recordHead {
			if _, ok := parseRecord(b, 1, Key{}); ok {
				t.Fatal("a record without a head was taken")
			}
			return
		}
		key := Key{UID: binary.LittleEndian.Uint32(b[4:]), Base: binary.LittleEndian.Uint64(b[8:])}
		if _, ok := parseRecord(b, 1, Key{UID: key.UID + 1, Base: key.Base}); ok {
			t.Fatal("a record of another message was taken")
		}
		binary.LittleEndian.PutUint32(b, sum(1, b[4:]))
		r, ok := parseRecord(b, 1, key)
		if !ok {
			return
		}
		again := appendRecord(nil, 1, key, &r)
		if s, ok := parseRecord(again, 1, key); !ok || !sameRecord(&r, &s) {
			t.Fatalf("%+v became %+v, %v", r, s, ok)
		}
	})
}

// FuzzParseEntry is the same for the index: an accepted entry has the same octets when it
// is encoded again, except for those without meaning.
func FuzzParseEntry(f *testing.F) {
	f.Add(appendEntry(nil, 1, &entry{key: Key{UID: 3, Base: 4}, has: 5, mtime: 6, virtual: 7, off: 8, len: 9}))
	f.Add(make([]byte, entrySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == entrySize {
			binary.LittleEndian.PutUint32(b[60:], sum(1, b[:60]))
		}
		e, ok := parseEntry(b, 1)
		if ok != (len(b) == entrySize) {
			t.Fatalf("%d octets: %v", len(b), ok)
		}
		if !ok {
			return
		}
		if again, ok := parseEntry(appendEntry(nil, 1, &e), 1); !ok || again != e {
			t.Fatalf("%+v became %+v", e, again)
		}
		if _, ok := parseEntry(b, 2); ok {
			t.Fatal("an entry of another number was taken")
		}
		b[60]++
		if _, ok := parseEntry(b, 1); ok {
			t.Fatal("an entry with another checksum was taken")
		}
	})
}
