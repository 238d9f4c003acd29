package uidlist

import (
	"encoding/binary"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/octets"
)

// Memo returns what the File knows, to be passed to Recall of another File. ok is false if
// there was no list in good order at the last Refresh.
func (f *File) Memo() (memo []byte, ok bool) {
	if !f.known || f.version == 0 || f.damaged || f.h.UIDValidity == 0 {
		return nil, false
	}
	if f.seen.racy {
		f.lookAgain()
	}
	st, racy := f.seen, uint64(0)
	if st.racy {
		racy = 1
	}
	var b []byte
	for _, n := range []uint64{
		st.id.Dev, st.id.Ino, uint64(st.size), uint64(st.mtime.UnixNano()), uint64(st.ctime.UnixNano()), racy,
		uint64(f.version), uint64(f.end), uint64(f.lastUID), uint64(f.lines), uint64(f.h.UIDValidity), uint64(f.h.NextUID),
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	for _, s := range append([]string{f.first, f.last, f.h.GUID}, f.h.Extra...) {
		b = octets.AppendText(b, s)
	}
	return b, true
}

// lookAgain checks, as Refresh would, that nothing has changed since the list was read
// within the granularity of its time.
func (f *File) lookAgain() {
	file, err := f.dir.Open(Name)
	if err != nil {
		return
	}
	defer file.Close()
	if now, err := f.look(file); err == nil && f.holds(file, now) && f.seen.same(now) {
		f.seen = now
	}
}

// Recall restores a memo instead of reading the list: ok reports whether it is valid, same
// whether nobody wrote the list since. Refresh reads what others appended. After any other
// change the memo is not valid, because the records that it stands for may have changed.
func (f *File) Recall(memo []byte) (ok, same bool) {
	d := octets.Decoder{Rest: memo}
	var n [12]uint64
	for i := range n {
		n[i] = d.U64()
	}
	var texts []string
	for len(d.Rest) > 0 {
		texts = append(texts, string(d.Text()))
	}
	if d.Bad || len(texts) < 3 || n[7] > n[2] || n[2] > maxFile || n[9] > maxRecords || n[8] > MaxUID || n[11] > MaxUID+1 ||
		n[10] == 0 || n[10] > 1<<32-1 || n[6] != 1 && n[6] != 3 {
		return false, false
	}
	was := fileState{id: dirfd.ID{Dev: n[0], Ino: n[1]}, size: int64(n[2]), mtime: time.Unix(0, int64(n[3])), ctime: time.Unix(0, int64(n[4])), racy: n[5] != 0}
	f.h = Header{UIDValidity: uint32(n[10]), NextUID: uint32(n[11]), GUID: texts[2], Extra: texts[3:]}
	f.version, f.end, f.lastUID, f.lines = int(n[6]), int64(n[7]), uint32(n[8]), int(n[9])
	f.first, f.last = texts[0], texts[1]
	f.known, f.seen, f.damaged = true, was, false
	now, known := f.sameOrGrown(was)
	f.known = known
	return known, known && now.same(was) && !was.racy
}

// sameOrGrown reports whether the list is the one that was seen, possibly with records
// appended.
func (f *File) sameOrGrown(was fileState) (now fileState, ok bool) {
	st, err := f.dir.Lstat(Name)
	if err != nil {
		return now, false
	}
	if now = f.fileStateOf(st); now.same(was) {
		return now, now.ctime.Equal(was.ctime) // otherwise somebody restored the old time
	}
	if now.size <= was.size {
		return now, false
	}
	file, err := f.dir.Open(Name)
	if err != nil {
		return now, false
	}
	defer file.Close()
	now, err = f.look(file)
	return now, err == nil && f.holds(file, now)
}
