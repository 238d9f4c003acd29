package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/octets"
)

// The memo is a header as in the file (its size determines the length), followed by numbers
// of 64 bits: inode number, size, modification and change time of the file, last
// mod-sequence, messages and runs in the file, number of removed runs, number of gaps; for
// each removed run its first and last UID in one number, and its mod-sequence; the bounds of
// each gap; then the name of each letter, as a text.
const memoNumbers = 8

// Memo returns what the File knows, to be passed to Recall of another File. ok is false if
// the journal could not be read or written.
func (f *File) Memo() (memo []byte, ok bool) {
	if !f.begun || f.EndLost() || f.rewrite || f.failed != nil || f.inode == 0 {
		return nil, false
	}
	st, err := f.dir.Lstat(Name)
	if err != nil {
		return nil, false
	}
	if !f.unchanged(st) { // another process wrote to it
		st.Mtime, st.Ctime = time.Unix(0, 0), time.Unix(0, 0)
	}
	le := binary.LittleEndian
	b := f.h.encode()
	for _, n := range []uint64{f.inode, uint64(f.size), uint64(st.Mtime.UnixNano()), uint64(st.Ctime.UnixNano()),
		f.last, uint64(f.records), uint64(len(f.gone)), uint64(len(f.gaps))} {
		b = le.AppendUint64(b, n)
	}
	for _, g := range f.gone {
		b = le.AppendUint64(b, uint64(g.First)|uint64(g.Last)<<32)
		b = le.AppendUint64(b, g.modseq)
	}
	for _, g := range f.gaps {
		b = le.AppendUint64(b, g.first)
		b = le.AppendUint64(b, g.last)
	}
	for _, name := range f.letters {
		b = octets.AppendText(b, name)
	}
	return b, true
}

// Recall restores a memo instead of reading the journal: ok reports whether it is valid,
// same whether nobody wrote to the journal since. Refresh reads what others appended. The
// lock is not needed.
func (f *File) Recall(memo []byte, validity uint32) (ok, same bool) {
	le := binary.LittleEndian
	if len(memo) < headerSize+8*memoNumbers {
		return false, false
	}
	h, err := decodeHeader(memo)
	if err != nil || h.validity != validity {
		return false, false
	}
	var n [memoNumbers]uint64
	for i := range n {
		n[i] = le.Uint64(memo[headerSize+8*i:])
	}
	pairs := memo[headerSize+8*memoNumbers:]
	if n[6] > maxGone || n[7] > maxGaps || uint64(len(pairs)) < 16*(n[6]+n[7]) || n[5] > maxFile {
		return false, false
	}
	var letters Names
	d := octets.Decoder{Rest: pairs[16*(n[6]+n[7]):]}
	for i := range letters {
		letters[i] = string(d.Text())
	}
	if d.Bad || len(d.Rest) > 0 {
		return false, false
	}
	st, err := f.dir.Lstat(Name)
	if err != nil || st.Ino != n[0] || st.Size < int64(n[1]) || int64(n[1]) < headerSize {
		return false, false
	}
	same = st.Size == int64(n[1]) && st.Mtime.UnixNano() == int64(n[2]) && st.Ctime.UnixNano() == int64(n[3])
	sameRun := h.run == f.run
	if !same && (!sameRun || !f.appendedTo(h)) {
		return false, false
	}
	f.begun = true
	f.past = past{h: h, gone: make([]gone, n[6]), gaps: make([]gap, n[7]), letters: letters}
	f.stored = stored{inode: n[0], size: int64(n[1]), mtime: time.Unix(0, int64(n[2])), last: n[4], records: int(n[5])}
	pair := func() (a, b uint64) {
		a, b, pairs = le.Uint64(pairs), le.Uint64(pairs[8:]), pairs[16:]
		return a, b
	}
	for i := range f.gone {
		run, modseq := pair()
		f.gone[i] = gone{Run{uint32(run), uint32(run >> 32)}, modseq}
	}
	for i := range f.gaps {
		f.gaps[i].first, f.gaps[i].last = pair()
	}
	if !sameRun { // the memo may know more than is on disk
		f.rewrite, f.lost = !f.intact(), h.highest+1
	}
	return true, same
}

// appendedTo is continues for the current file.
func (f *File) appendedTo(h header) bool {
	file, err := f.openIf(h)
	if err != nil {
		return false
	}
	_ = file.Close()
	return true
}

// openIf opens the file if it starts with a header, see continues.
func (f *File) openIf(h header) (*dirfd.File, error) {
	file, err := f.dir.Open(Name)
	if err != nil {
		return nil, err
	}
	st, err := dirfd.FileStat(file)
	if err == nil && !f.continues(file, st, h) {
		err = errDamaged
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// intact reports whether the file has all that a memo says was written to it. After a crash
// of the machine, it may have its size but not its content. Reading it costs less than
// Rewrite, which waits for the disk.
func (f *File) intact() bool {
	file, err := f.openIf(f.h)
	if err != nil {
		return false
	}
	defer file.Close()
	fr := frameReader{r: bufio.NewReaderSize(io.NewSectionReader(file, headerSize, f.size-headerSize), 64<<10)}
	for err == nil {
		_, err = fr.next()
	}
	return errors.Is(err, io.EOF) && fr.before == f.last
}

// continues reports whether a file starts with the header that was last read or written, so
// that the rest was appended. The highest mod-sequence and UID in the header date from when
// the file was rewritten.
func (f *File) continues(file *dirfd.File, st dirfd.Stat, h header) bool {
	now, err := f.readHeader(file, st, h.validity)
	return err == nil && now.inode == h.inode && now.since <= h.since && now.highest <= h.highest &&
		now.accounted <= h.accounted
}
