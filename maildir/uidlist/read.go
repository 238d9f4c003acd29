package uidlist

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
)

// Refresh reads what others changed since the last call and calls add with the records, in
// ascending order of UIDs. While add runs, Header describes the list that is being read.
// The strings of a record share memory with those of many others: clone what is to be kept.
// Refresh costs one system call if nothing has changed, unless the last change was so recent
// that another one may be hidden behind its time. After an error, the next call may pass on
// all records again.
func (f *File) Refresh(add func(Record)) (Change, error) {
	st, err := f.dir.Lstat(Name)
	if errors.Is(err, fs.ErrNotExist) {
		f.forget()
		return Missing, nil
	}
	if err != nil {
		return Unchanged, err
	}
	if now := f.fileStateOf(st); f.known && f.seen.same(now) && !f.seen.racy {
		return Unchanged, nil
	}
	file, err := f.dir.Open(Name)
	if errors.Is(err, fs.ErrNotExist) {
		f.forget()
		return Missing, nil
	}
	if errors.Is(err, dirfd.ErrNotRegular) {
		err = fmt.Errorf("%w; move it away, and the messages are numbered anew", err)
	}
	if err != nil {
		f.known = false
		return Unchanged, err
	}
	defer file.Close()
	change, err := f.read(file, add)
	if err != nil {
		f.known = false
	}
	return change, err
}

// forget notes that there is no list. What a new list should continue with is kept.
func (f *File) forget() {
	f.h.UIDValidity = 0
	f.known = false
	f.lines, f.lastUID = 0, 0
}

func (f *File) read(file *dirfd.File, add func(Record)) (Change, error) {
	now, err := f.look(file)
	if err != nil {
		return Unchanged, err
	}
	if now.size > maxFile {
		return Unchanged, &fs.PathError{Op: "read", Path: file.Name(), Err: fmt.Errorf("file has %d bytes, the limit is %d", now.size, int64(maxFile))}
	}
	if f.known && f.holds(file, now) {
		if f.seen.same(now) {
			f.seen = now
			return Unchanged, nil
		}
		if now.size > f.seen.size {
			ok, err := inOrder(file, f.end, now.size, f.lastUID)
			if err != nil {
				return Unchanged, err
			}
			if ok {
				return f.readRest(file, now, add)
			}
		}
	}
	return Replaced, f.readAll(file, now, add)
}

func (f *File) look(file *dirfd.File) (fileState, error) {
	st, err := dirfd.FileStat(file)
	return f.fileStateOf(st), err
}

// holds reports whether the file is the one that was last read, and still has the first and
// the last line that were read in their places.
func (f *File) holds(file *dirfd.File, now fileState) bool {
	if now.id != f.seen.id || now.size < f.end || f.version == 0 {
		return false
	}
	at := func(off int64, line string) bool {
		buf := make([]byte, len(line)+1)
		n, _ := file.ReadAt(buf, off)
		return string(buf[:n]) == line+"\n"
	}
	return at(0, f.first) && at(f.end-int64(len(f.last))-1, f.last)
}

// inOrder reports whether the UIDs of the lines from an offset on ascend.
func inOrder(file io.ReaderAt, from, size int64, last uint32) (bool, error) {
	l := newLines(file, from, size)
	for {
		line, ok := l.line()
		if !ok {
			return true, l.err
		}
		uid, _ := leadingUID(withoutNULs(line))
		if uid == 0 {
			continue
		}
		if uid <= last {
			return false, nil
		}
		last = uid
	}
}

// readRest reads what was appended.
func (f *File) readRest(file *dirfd.File, now fileState, add func(Record)) (Change, error) {
	l := newLines(file, f.end, now.size)
	before := f.end
	if err := f.records(l, add); err != nil {
		return Unchanged, err
	}
	f.seen = now
	f.noteTorn(l)
	if f.end == before {
		return Unchanged, nil
	}
	return Appended, nil
}

// readAll reads the list from the first line on.
func (f *File) readAll(file io.ReaderAt, now fileState, add func(Record)) error {
	l := newLines(file, 0, now.size)
	old := f.h
	f.known, f.seen, f.damaged = true, now, false
	f.lines, f.lastUID, f.end = 0, 0, 0
	first, complete := l.line()
	first = strings.Clone(first)
	f.first, f.last = first, first
	h, version, sound := Header{}, 0, false
	if complete {
		h, version, sound = parseHeader(first)
	}
	if l.err != nil {
		return l.err
	}
	if f.version = version; version == 0 {
		f.opt.Log.Error("dovecot-uidlist gives no UIDVALIDITY, nothing in it can be trusted",
			"folder", f.dir.Path(), "size", now.size, "line", excerpt(first))
		f.damaged = true
		f.h.UIDValidity = 0 // GUID and the like can be used for a new list
		return nil
	}
	f.h, f.end = h, l.end
	if !sound {
		f.complain("its first line is incomplete", first)
	}
	if h.GUID == "" && old.UIDValidity == h.UIDValidity {
		f.h.GUID = old.GUID
	}
	ok, err := inOrder(file, l.end, now.size, 0)
	if err != nil {
		return err
	}
	if ok {
		err = f.records(l, add)
	} else {
		err = f.unordered(l, add)
	}
	if err != nil {
		return err
	}
	f.noteTorn(l)
	if old.UIDValidity == h.UIDValidity && f.h.NextUID < old.NextUID {
		if !f.doubtful { // otherwise Append removed records again
			f.complain(fmt.Sprintf("its next UID went back from %d to %d", old.NextUID, f.h.NextUID), first)
		}
		f.h.NextUID = old.NextUID
	}
	return nil
}

// records reads records that are in order.
func (f *File) records(l *lines, add func(Record)) error {
	for {
		line, ok := l.line()
		if !ok {
			f.last = strings.Clone(f.last)
			return l.err
		}
		f.last, f.end = line, l.end
		r, ok := f.record(line)
		if !ok {
			continue
		}
		if err := f.count(r.UID); err != nil {
			return err
		}
		add(r)
	}
}

func (f *File) count(uid uint32) error {
	if f.lines++; f.lines > maxRecords {
		return fmt.Errorf("%s/%s has more than %d records", f.dir.Path(), Name, maxRecords)
	}
	f.lastUID = max(f.lastUID, uid)
	f.h.NextUID = max(f.h.NextUID, f.lastUID+1)
	return nil
}

// unordered reads records in any order and passes them on in the order of their UIDs. If
// two have the same UID, the first one in the file is used.
func (f *File) unordered(l *lines, add func(Record)) error {
	var all []Record
	collect := func(r Record) { all = append(all, r) }
	if err := f.records(l, collect); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmp.Compare(a.UID, b.UID) })
	f.complain("its UIDs do not ascend", "")
	for i, r := range all {
		if i > 0 && r.UID == all[i-1].UID {
			if r.Base != all[i-1].Base {
				f.complain(fmt.Sprintf("it gives UID %d twice", r.UID), r.Base)
			}
			all[i] = all[i-1]
			continue
		}
		add(r)
	}
	return nil
}

// record parses one line.
func (f *File) record(line string) (Record, bool) {
	clean := withoutNULs(line)
	r, cut, ok := parseRecord(clean, f.version)
	if !ok || len(clean) < len(line) {
		f.complain("a line is malformed", line)
	}
	if !ok {
		// Its message gets a new UID, but no other message may get this one.
		if uid, _ := leadingUID(clean); uid != 0 {
			f.h.NextUID = max(f.h.NextUID, uid+1)
		}
	}
	if cut {
		if uid := mergedUID(clean, r.UID); uid != 0 {
			f.complain("a record was added to an unfinished one", line)
			f.h.NextUID = max(f.h.NextUID, uid+1)
		}
	}
	return r, ok
}

// withoutNULs removes the NULs that a file system may leave of a write interrupted by a
// power failure, if somebody appended after them.
func withoutNULs(line string) string {
	if line == "" || line[0] != 0 {
		return line
	}
	return strings.TrimLeft(line, "\x00")
}

// noteTorn keeps the UID in an unfinished last line from being assigned again: whoever
// started to write the line may have told a client that UID.
func (f *File) noteTorn(l *lines) {
	if uid, _ := leadingUID(l.text); uid != 0 && uid > f.lastUID && l.size > l.end {
		f.h.NextUID = max(f.h.NextUID, uid+1)
	}
}

// complain logs the first fault that is found in a list.
func (f *File) complain(what, line string) {
	if !f.damaged {
		f.opt.Log.Error("dovecot-uidlist is damaged, keeping what can be read: "+what,
			"folder", f.dir.Path(), "line", excerpt(line))
	}
	f.damaged = true
}

func excerpt(line string) string {
	if len(line) > 120 {
		return line[:120] + "..."
	}
	return line
}
