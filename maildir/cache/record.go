package cache

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Format is the version of the files and of what the kinds hold. Change it when
// any octet of a rendering changes, and old files are not read any more.
const Format = 5

// Kind names a piece of what is kept of a message.
type Kind uint8

// The kinds. All but Header, Parts and Order are as a protocol writes them.
const (
	Envelope      Kind = iota // ENVELOPE of IMAP
	BodyStructure             // BODYSTRUCTURE of IMAP
	Body                      // BODY of IMAP
	Preview                   // PREVIEW of RFC 8970, the text itself
	Parts                     // message.Part, encoded
	Header                    // all of the header in CRLF form
	Order                     // what SORT and THREAD of IMAP look at
	kinds
)

// Kinds is a set of kinds.
type Kinds uint16

// Set returns the set of one kind.
func (k Kind) Set() Kinds { return 1 << k }

// maxPiece is the most octets of one kind that are kept.
const maxPiece = 16 << 10

// maxRecord is more than any record has.
const maxRecord = recordHead + int(kinds)*(pieceHead+maxPiece)

// Record is what is known of one message.
type Record struct {
	// Size and Mtime are those of the text that the record was made from (see
	// mailbox.File): one that has others is another text.
	Size  int64
	Mtime time.Time
	// Virtual is the octets of the text in CRLF form, negative if not known.
	Virtual int64
	// Source is the file that the text was read from. Its record does not have it, but
	// its entry of the index.
	Source Source

	has    Kinds
	pieces [kinds][]byte
}

// Has tells which kinds the record has.
func (r *Record) Has() Kinds { return r.has }

// Get returns the octets of a kind, which belong to the record; ok tells
// whether it has them.
func (r *Record) Get(k Kind) (b []byte, ok bool) { return r.pieces[k], r.has&k.Set() != 0 }

// Set keeps octets, which then belong to the record. More than 16 KiB are not
// kept.
func (r *Record) Set(k Kind, b []byte) {
	if len(b) <= maxPiece {
		r.pieces[k], r.has = b, r.has|k.Set()
	}
}

// MoveTo makes the octets of the record stand behind b, which it returns.
func (r *Record) MoveTo(b []byte) []byte {
	for k, piece := range r.pieces {
		from := len(b)
		b = append(b, piece...)
		r.pieces[k] = b[from:len(b):len(b)]
	}
	return b
}

// A record in the data file, little-endian: checksum (4), UID (4), base (8),
// size (8), time (8), virtual (8), number of pieces (1), zero (3); for each
// piece its kind (1), zero (1), length (2); then
// the pieces.
const (
	recordHead = 44
	pieceHead  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of b in files with this number.
func sum(number uint64, b []byte) uint32 {
	return crc32.Update(uint32(number)^uint32(number>>32), castagnoli, b)
}

// appendRecord appends a record in the form of the data file.
func appendRecord(b []byte, number uint64, key Key, r *Record) []byte {
	le := binary.LittleEndian
	from := len(b)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, key.UID)
	b = le.AppendUint64(b, key.Base)
	b = le.AppendUint64(b, uint64(r.Size))
	b = le.AppendUint64(b, uint64(nanoseconds(r.Mtime)))
	b = le.AppendUint64(b, uint64(r.Virtual))
	count := byte(0)
	for k := range r.pieces {
		count += byte(r.has >> k & 1)
	}
	b = append(b, count, 0, 0, 0)
	for k, piece := range r.pieces {
		if r.has&Kind(k).Set() != 0 {
			b = append(b, byte(k), 0)
			b = le.AppendUint16(b, uint16(len(piece)))
		}
	}
	for k, piece := range r.pieces {
		if r.has&Kind(k).Set() != 0 {
			b = append(b, piece...)
		}
	}
	le.PutUint32(b[from:], sum(number, b[from+4:]))
	return b
}

// parseRecord reads a record; its octets stay those of b. ok is false for
// anything that appendRecord did not write for this key and number.
func parseRecord(b []byte, number uint64, key Key) (r Record, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHead || le.Uint32(b) != sum(number, b[4:]) ||
		le.Uint32(b[4:]) != key.UID || le.Uint64(b[8:]) != key.Base {
		return r, false
	}
	return parsePieces(b)
}

// parsePieces reads a record whose checksum is right.
func parsePieces(b []byte) (r Record, ok bool) {
	le := binary.LittleEndian
	r.Size, r.Virtual = int64(le.Uint64(b[16:])), int64(le.Uint64(b[32:]))
	r.Mtime, _ = fromNanoseconds(int64(le.Uint64(b[24:])))
	count := int(b[40])
	heads := b[recordHead:]
	if len(heads) < count*pieceHead {
		return r, false
	}
	rest := heads[count*pieceHead:]
	for range count {
		k, n := Kind(heads[0]), int(le.Uint16(heads[2:]))
		if k >= kinds || n > len(rest) || r.has&k.Set() != 0 {
			return r, false
		}
		r.Set(k, rest[:n:n])
		heads, rest = heads[pieceHead:], rest[n:]
	}
	return r, len(rest) == 0
}

// noTime stands for a time that is not known or that has no nanoseconds in 64
// bits (before 1678 and after 2261).
const noTime = -1 << 63

func nanoseconds(t time.Time) int64 {
	if s := t.Unix(); t.IsZero() || s < -9_200_000_000 || s > 9_200_000_000 {
		return noTime
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) (time.Time, bool) {
	t := time.Unix(0, n)
	if n == noTime || nanoseconds(t) != n {
		return time.Time{}, false
	}
	return t, true
}

// Key is a message: its UID, and the base of its file name by BaseSum.
type Key struct {
	UID  uint32
	Base uint64
}

// BaseSum is what stands for the base of a file name (FNV-1a).
func BaseSum[T string | []byte](base T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(base) {
		h = (h ^ uint64(base[i])) * 1099511628211
	}
	return h
}

// entrySize is the bytes of an entry of the index, little-endian: UID (4), kinds
// (2), zero (2), base (8), time (8), virtual (8), offset (8) and length (4) of
// the record, inode (4) and length (4) of the file, zero (8), checksum (4). An entry that is outdated has a time and
// sizes that are not known.
const entrySize = 64

// entry is a record's entry in the index.
type entry struct {
	key     Key
	has     Kinds
	mtime   int64
	virtual int64
	off     int64
	len     uint32 // 0: there is no record, only the date or the size is known
	source  Source
}

// outdated among the kinds of an entry says that what stands before it of its message
// is of another text. It has nothing else.
const outdated Kinds = 1 << 15

func appendEntry(b []byte, number uint64, e *entry) []byte {
	le := binary.LittleEndian
	var raw [entrySize]byte
	le.PutUint32(raw[0:], e.key.UID)
	le.PutUint16(raw[4:], uint16(e.has))
	le.PutUint64(raw[8:], e.key.Base)
	le.PutUint64(raw[16:], uint64(e.mtime))
	le.PutUint64(raw[24:], uint64(e.virtual))
	le.PutUint64(raw[32:], uint64(e.off))
	le.PutUint32(raw[40:], e.len)
	le.PutUint32(raw[44:], e.source.Inode)
	le.PutUint32(raw[48:], e.source.Length)
	le.PutUint32(raw[60:], sum(number, raw[:60]))
	return append(b, raw[:]...)
}

func parseEntry(raw []byte, number uint64) (e entry, ok bool) {
	le := binary.LittleEndian
	if len(raw) != entrySize || le.Uint32(raw[60:]) != sum(number, raw[:60]) {
		return e, false
	}
	return entry{
		key: Key{UID: le.Uint32(raw), Base: le.Uint64(raw[8:])}, has: Kinds(le.Uint16(raw[4:])),
		mtime: int64(le.Uint64(raw[16:])), virtual: int64(le.Uint64(raw[24:])),
		off: int64(le.Uint64(raw[32:])), len: le.Uint32(raw[40:]),
		source: Source{le.Uint32(raw[44:]), le.Uint32(raw[48:])},
	}, true
}
