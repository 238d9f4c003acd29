package cache

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// Format is the version of the files and of the contents of the kinds. It must be changed
// whenever any octet of them changes; files of other versions are not read.
const Format = 10

// Kind identifies a part of what is cached of a message.
type Kind uint8

// The kinds. All except Header, Parts and Order are in the form that a protocol uses. The
// packages of that protocol fill them in: server/imap/mailfile, and for Order server/imap
// (sortkeys.go).
const (
	Envelope      Kind = iota // ENVELOPE of IMAP
	BodyStructure             // BODYSTRUCTURE of IMAP
	Body                      // BODY of IMAP
	Preview                   // PREVIEW of RFC 8970, the text itself
	Parts                     // message.Part, encoded
	Header                    // the complete header with CRLF line ends
	Order                     // what SORT and THREAD of IMAP need
	kinds
)

// Kinds is a set of kinds.
type Kinds uint16

// Set returns the set of one kind.
func (k Kind) Set() Kinds { return 1 << k }

// maxPiece is the most octets of one kind that are cached.
const maxPiece = 16 << 10

// maxRecord is an upper bound for the size of a record in bytes.
const maxRecord = recordHead + int(kinds)*(pieceHead+maxPiece)

// Record is what is known of one message.
type Record struct {
	// Size and Mtime are those of the text that the record was made from (see
	// mailbox.File). If they differ, it is a different text.
	Size  int64
	Mtime time.Time
	// Virtual is the size of the text in octets with CRLF line ends, negative if unknown.
	Virtual int64
	// Source identifies the file that the text was read from. It is stored in the index
	// entry, not in the record.
	Source Source

	has    Kinds
	pieces [kinds][]byte
}

// Has returns the kinds that the record has.
func (r *Record) Has() Kinds { return r.has }

// Get returns the octets of a kind, which belong to the record. ok reports whether it has
// them.
func (r *Record) Get(k Kind) (b []byte, ok bool) { return r.pieces[k], r.has&k.Set() != 0 }

// Set stores octets, which then belong to the record. More than 16 KiB are not stored.
func (r *Record) Set(k Kind, b []byte) {
	if len(b) <= maxPiece {
		r.pieces[k], r.has = b, r.has|k.Set()
	}
}

// MoveTo appends the octets of the record to b, lets the record refer to them there, and
// returns b.
func (r *Record) MoveTo(b []byte) []byte {
	for k, piece := range r.pieces {
		from := len(b)
		b = append(b, piece...)
		r.pieces[k] = b[from:len(b):len(b)]
	}
	return b
}

// A record in the data file, little-endian: checksum (4), UID (4), base (8), size (8), time
// (8), virtual (8), number of pieces (1), zero (3); for each piece its kind (1), zero (1),
// length (2); then the pieces.
const (
	recordHead = 44
	pieceHead  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum returns the checksum of b in files with this number.
func sum(number uint64, b []byte) uint32 {
	return crc32.Update(uint32(number)^uint32(number>>32), castagnoli, b)
}

// appendRecord appends an encoded record.
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

// parseRecord decodes a record, whose octets are those of b. ok is false for anything that
// appendRecord did not write for this key and number.
func parseRecord(b []byte, number uint64, key Key) (r Record, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHead || le.Uint32(b) != sum(number, b[4:]) ||
		le.Uint32(b[4:]) != key.UID || le.Uint64(b[8:]) != key.Base {
		return r, false
	}
	return parsePieces(b)
}

// parsePieces decodes a record whose checksum is correct.
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

// noTime stands for a time that is unknown, or that cannot be represented as nanoseconds in
// 64 bits (before 1678 and after 2261).
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

// Key identifies a message by its UID and the BaseSum of its base.
type Key struct {
	UID  uint32
	Base uint64
}

// BaseSum returns a hash (FNV-1a) of the base of a file name.
func BaseSum[T string | []byte](base T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(base) {
		h = (h ^ uint64(base[i])) * 1099511628211
	}
	return h
}

// entrySize is the size in bytes of an index entry, little-endian: UID (4), kinds (2), zero
// (2), base (8), time (8), virtual (8), offset (8) and length (4) of the record, inode
// number (4) and length (4) of the file, zero (8), checksum (4). In an entry that marks a
// message as outdated, the time and the sizes are unknown.
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

// outdated among the kinds of an entry means that all earlier entries of the message are of
// another text. Such an entry has nothing else.
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
