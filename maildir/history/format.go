package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"maildird/maildir/filename"
)

// The file starts with a header of 64 bytes (all numbers little-endian):
//
//	 0  magic
//	 8  inode number of the file
//	16  mod-sequence since which removed messages are remembered
//	24  highest mod-sequence when the file was rewritten
//	32  run of the machine in which it was written
//	40  UIDVALIDITY (32 bits)
//	44  highest UID accounted for when the file was rewritten (32 bits)
//	48  when the file was created, in nanoseconds since 1970, 0 if the file system does not tell
//	56  length of what was written at once, in bytes (32 bits); what follows was appended
//	60  CRC-32C of the preceding bytes (32 bits)
//
// Frames follow, each consisting of the length of the payload and its CRC-32C (32 bits
// each), and the payload, which is a sequence of unsigned varints:
//
//	mod-sequence, minus that of the previous frame
//	number of changed messages, and for each: UID minus the previous one, flags
//	number of runs of removed UIDs, and for each: first UID minus the last one
//	of the previous run, number of UIDs minus one
//	number of save dates, and for each: UID minus the previous one, seconds minus
//	the previous ones (zigzag), or for the first, minus those of the mod-sequence
//	number of keyword letters that stand for another name from here on, and for
//	each: its index (0 for a), length of the name (0: it has none), the name
//	number of gaps, and for each: first mod-sequence minus the last one of the
//	previous gap, number of mod-sequences minus one
//	run of the machine that begins, 0 if it is that of the previous frame
//
// UIDs and gaps ascend in all lists. All other versions count as lost.
const (
	magic      = "MDHIST\x00\x04" // the last octet is the version
	headerSize = 64
	frameHead  = 8

	// maxPayload limits what is read at once; maxList keeps frames below it.
	maxPayload = 1 << 20
	maxList    = 30_000
	// maxFile is the largest file that is read: ten times what a million messages need.
	maxFile = 256 << 20
	// maxModSeq is far below the 63 bits of RFC 7162, so that there is always a next one.
	// The clock gets there in 36,000 years.
	maxModSeq = 1 << 60
	maxUID    = 1<<32 - 2
	// maxName is the length in octets of the longest keyword name.
	maxName = 255
	// maxGaps limits how many gaps are remembered one by one.
	maxGaps = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged means that what was read is not a complete journal in a known format.
var errDamaged = errors.New("damaged")

// header is the beginning of the file; see above for the fields.
type header struct {
	inode     uint64
	since     uint64
	highest   uint64
	run       uint64
	validity  uint32
	accounted uint32
	birth     int64
	base      uint32
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, h.inode)
	b = binary.LittleEndian.AppendUint64(b, h.since)
	b = binary.LittleEndian.AppendUint64(b, h.highest)
	b = binary.LittleEndian.AppendUint64(b, h.run)
	b = binary.LittleEndian.AppendUint32(b, h.validity)
	b = binary.LittleEndian.AppendUint32(b, h.accounted)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.birth))
	b = binary.LittleEndian.AppendUint32(b, h.base)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) >= headerSize && string(b[:7]) == magic[:7] && b[7] != magic[7] {
		return h, fmt.Errorf("%w: it is in version %d of its form, not %d", errDamaged, b[7], magic[7])
	}
	if len(b) < headerSize || string(b[:8]) != magic ||
		binary.LittleEndian.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli) {
		return h, errDamaged
	}
	h.inode = binary.LittleEndian.Uint64(b[8:])
	h.since = binary.LittleEndian.Uint64(b[16:])
	h.highest = binary.LittleEndian.Uint64(b[24:])
	h.run = binary.LittleEndian.Uint64(b[32:])
	h.validity = binary.LittleEndian.Uint32(b[40:])
	h.accounted = binary.LittleEndian.Uint32(b[44:])
	h.birth = int64(binary.LittleEndian.Uint64(b[48:]))
	h.base = binary.LittleEndian.Uint32(b[56:])
	if h.since == 0 || h.run == 0 || h.base < headerSize || h.highest < h.since || h.highest > maxModSeq || h.accounted > maxUID {
		return h, errDamaged
	}
	return h, nil
}

// State is the flags of one message.
type State struct {
	UID   uint32
	Flags filename.Flags
}

// Run is the UIDs from First to Last, First <= Last.
type Run struct{ First, Last uint32 }

// Saved is when a message was saved in the folder: At is in seconds since 1970, never 0.
type Saved struct{ UID, At uint32 }

// Letter is the name that a keyword letter stands for, "" for none. Index is 0 for a.
type Letter struct {
	Index int
	Name  string
}

// Names are the names of the keyword letters.
type Names [filename.MaxKeywords]string

// gap is the mod-sequences from first to last, first <= last, that clients may have been told
// although the journal does not have what happened with them.
type gap struct{ first, last uint64 }

// Frame is what happened with one mod-sequence, or part of it. UIDs ascend. A frame that
// has only save dates or letters may have the mod-sequence of the previous frame, because
// these are not changes.
type Frame struct {
	ModSeq  uint64
	Changed []State
	Gone    []Run
	Saved   []Saved
	Letters []Letter

	gaps []gap
	run  uint64
}

// full reports whether further frames with the same mod-sequence may have to follow.
func (f *Frame) full() bool { return len(f.Changed) == maxList || len(f.Gone) == maxList }

// seconds is the time in seconds since 1970 from which the first save date of a frame is
// subtracted.
func (f *Frame) seconds() int64 { return int64(f.ModSeq / 1_000_000) }

// appendFrame appends the encoded frame. Its lists must not be longer than maxList.
func appendFrame(b []byte, last uint64, f *Frame) []byte {
	at := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = binary.AppendUvarint(b, f.ModSeq-last)
	b = binary.AppendUvarint(b, uint64(len(f.Changed)))
	uid := uint32(0)
	for _, s := range f.Changed {
		b = binary.AppendUvarint(b, uint64(s.UID-uid))
		b = binary.AppendUvarint(b, uint64(s.Flags))
		uid = s.UID
	}
	b = binary.AppendUvarint(b, uint64(len(f.Gone)))
	uid = 0
	for _, r := range f.Gone {
		b = binary.AppendUvarint(b, uint64(r.First-uid))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		uid = r.Last
	}
	b = binary.AppendUvarint(b, uint64(len(f.Saved)))
	uid = 0
	before := f.seconds()
	for _, s := range f.Saved {
		b = binary.AppendUvarint(b, uint64(s.UID-uid))
		b = binary.AppendVarint(b, int64(s.At)-before)
		uid, before = s.UID, int64(s.At)
	}
	b = binary.AppendUvarint(b, uint64(len(f.Letters)))
	for _, l := range f.Letters {
		b = binary.AppendUvarint(b, uint64(l.Index))
		b = binary.AppendUvarint(b, uint64(len(l.Name)))
		b = append(b, l.Name...)
	}
	b = binary.AppendUvarint(b, uint64(len(f.gaps)))
	end := uint64(0)
	for _, g := range f.gaps {
		b = binary.AppendUvarint(b, g.first-end)
		b = binary.AppendUvarint(b, g.last-g.first)
		end = g.last
	}
	b = binary.AppendUvarint(b, f.run)
	payload := b[at+frameHead:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// appendSplit is appendFrame for lists of any length: it appends as many frames with the
// same mod-sequence as necessary.
func appendSplit(b []byte, last uint64, f Frame) []byte {
	for {
		part := f
		part.Changed, part.Gone, part.Saved = f.Changed[:min(len(f.Changed), maxList)], f.Gone[:min(len(f.Gone), maxList)], f.Saved[:min(len(f.Saved), maxList)]
		b = appendFrame(b, last, &part)
		f.Changed, f.Gone, f.Saved = f.Changed[len(part.Changed):], f.Gone[len(part.Gone):], f.Saved[len(part.Saved):]
		f.Letters, f.gaps, f.run = nil, nil, 0
		if len(f.Changed)+len(f.Gone)+len(f.Saved) == 0 {
			return b
		}
		last = f.ModSeq
	}
}

// frameReader reads frames one after another.
type frameReader struct {
	r       io.Reader
	head    [frameHead]byte
	payload []byte
	frame   Frame
	before  uint64 // mod-sequence of the previous frame
}

// next returns the next frame, which is valid until the next call. It returns io.EOF if the
// file ends after a frame, errDamaged if it ends elsewhere or is malformed, or a read
// error.
func (fr *frameReader) next() (*Frame, error) {
	if _, err := io.ReadFull(fr.r, fr.head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errDamaged
		}
		return nil, err
	}
	size := binary.LittleEndian.Uint32(fr.head[:])
	if size > maxPayload {
		return nil, errDamaged
	}
	if cap(fr.payload) < int(size) {
		fr.payload = make([]byte, size)
	}
	fr.payload = fr.payload[:size]
	if _, err := io.ReadFull(fr.r, fr.payload); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errDamaged
		}
		return nil, err
	}
	if crc32.Checksum(fr.payload, castagnoli) != binary.LittleEndian.Uint32(fr.head[4:]) {
		return nil, errDamaged
	}
	if !fr.decode() {
		return nil, errDamaged
	}
	return &fr.frame, nil
}

// decode decodes the payload into frame.
func (fr *frameReader) decode() bool {
	p, f := varints{b: fr.payload}, &fr.frame
	f.ModSeq = fr.before + p.next(maxModSeq)
	if f.ModSeq == 0 || f.ModSeq > maxModSeq {
		return false
	}
	f.Changed, f.Gone, f.Saved, f.Letters, f.gaps = f.Changed[:0], f.Gone[:0], f.Saved[:0], f.Letters[:0], f.gaps[:0]
	uid := uint64(0)
	for n := p.next(maxPayload); n > 0 && !p.bad; n-- {
		uid = p.above(uid)
		f.Changed = append(f.Changed, State{uint32(uid), filename.Flags(p.next(math.MaxUint32))})
	}
	uid = 0
	for n := p.next(maxPayload); n > 0 && !p.bad; n-- {
		first := p.above(uid)
		uid = first + p.next(maxUID-first)
		f.Gone = append(f.Gone, Run{uint32(first), uint32(uid)})
	}
	uid = 0
	at := f.seconds()
	for n := p.next(maxPayload); n > 0 && !p.bad; n-- {
		uid = p.above(uid)
		at = p.time(at)
		f.Saved = append(f.Saved, Saved{uint32(uid), uint32(at)})
	}
	for n := p.next(filename.MaxKeywords); n > 0 && !p.bad; n-- {
		index := p.next(filename.MaxKeywords - 1)
		f.Letters = append(f.Letters, Letter{int(index), p.text(maxName)})
	}
	f.gaps = p.gaps(f.gaps)
	f.run = p.next(math.MaxUint64)
	fr.before = f.ModSeq
	return !p.bad && len(p.b) == 0
}

// varints decodes unsigned varints from b.
type varints struct {
	b   []byte
	bad bool
}

func (p *varints) next(most uint64) uint64 {
	n, size := binary.Uvarint(p.b)
	if size <= 0 || n > most {
		p.bad = true
		return 0
	}
	p.b = p.b[size:]
	return n
}

// gaps decodes a list of gaps and appends them to list.
func (p *varints) gaps(list []gap) []gap {
	last := uint64(0)
	for n := p.next(maxGaps); n > 0 && !p.bad; n-- {
		first := last + p.next(maxModSeq-last)
		if first == last {
			p.bad = true
			break
		}
		last = first + p.next(maxModSeq-first)
		list = append(list, gap{first, last})
	}
	return list
}

// text decodes a string of at most most octets, preceded by its length.
func (p *varints) text(most uint64) string {
	n := p.next(most)
	if n > uint64(len(p.b)) {
		p.bad = true
		return ""
	}
	text := string(p.b[:n])
	p.b = p.b[n:]
	return text
}

// above decodes a UID that must be greater than uid.
func (p *varints) above(uid uint64) uint64 {
	n := p.next(maxUID - uid)
	if n == 0 {
		p.bad = true
	}
	return uid + n
}

// time decodes a difference from the previous time.
func (p *varints) time(before int64) int64 {
	n, size := binary.Varint(p.b)
	at := before + n
	if size <= 0 || at <= 0 || at > math.MaxUint32 {
		p.bad = true
		return before
	}
	p.b = p.b[size:]
	return at
}
