package uidlist

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"maildird/maildir/contain"
	"maildird/maildir/dirfd"
)

// tempName is Dovecot's name for the file that replaces the list.
const tempName = Name + ".tmp"

// Roughly how much is written at a time, always whole lines: to a list that is read while
// it is being written, and to a new one.
const (
	writeSize    = 256 << 10
	newWriteSize = 32 << 10
)

// Append appends records, durable on return. Their UIDs must ascend from Header().NextUID.
// The caller must hold the lock and have called Refresh while holding it; if the list has
// changed since then, Append returns an error.
func (f *File) Append(recs []Record) error {
	if len(recs) == 0 {
		return nil
	}
	if !f.known || f.version == 0 {
		return fmt.Errorf("%s/%s: no list to append to", f.dir.Path(), Name)
	}
	last := f.h.NextUID - 1
	for _, r := range recs {
		if r.UID <= last || !writable(r) {
			return fmt.Errorf("%s/%s: cannot hold the record %d %q :%q", f.dir.Path(), Name, r.UID, r.Ext, r.Base)
		}
		last = r.UID
	}
	if f.version != 3 || f.h.GUID == "" || f.damaged || f.doubtful || f.seen.size > f.end {
		return f.appendAnew(recs)
	}
	file, err := f.dir.OpenAppend(Name)
	if errors.Is(err, fs.ErrNotExist) {
		return f.changed()
	}
	if err != nil {
		return err
	}
	defer file.Close()
	now, err := f.look(file)
	if err != nil {
		return err
	}
	if !f.seen.same(now) {
		return f.changed()
	}
	before := f.end
	if err := f.write(file, recs); err != nil {
		return err
	}
	if f.opt.Fsync {
		if err := f.opt.DataSync(file); err != nil {
			// The kernel reports this only once, and then treats what it could not write as
			// written: the next reader must not find what was appended. A reader without
			// the lock may have seen the UIDs meanwhile, so they are not used again.
			f.known, f.doubtful = false, true
			return errors.Join(err, file.Truncate(before))
		}
	}
	if now, err = f.look(file); err != nil || now.size != f.end {
		f.known = false
	}
	f.seen = now
	return err
}

func (f *File) changed() error {
	f.known = false
	return fmt.Errorf("%s: %w", f.dir.Path(), errChanged)
}

// write appends whole lines, and removes a partial line if the disk is full.
func (f *File) write(file *dirfd.File, recs []Record) error {
	var buf []byte
	for i, r := range recs {
		before := len(buf)
		buf = appendRecord(buf, r)
		if i == len(recs)-1 {
			f.last = string(buf[before : len(buf)-1])
		}
		if len(buf) < writeSize && i < len(recs)-1 {
			continue
		}
		if n, err := file.Write(buf); err != nil {
			f.known = false
			whole := f.end + int64(strings.LastIndexByte(string(buf[:n]), '\n')+1)
			return errors.Join(err, file.Truncate(whole))
		}
		f.end += int64(len(buf))
		buf = buf[:0]
	}
	f.lines += len(recs)
	f.lastUID = recs[len(recs)-1].UID
	f.h.NextUID = f.lastUID + 1
	return nil
}

// appendAnew replaces the list by one with its existing records and the new ones. It is
// used if the existing file cannot be appended to.
func (f *File) appendAnew(recs []Record) error {
	h := f.h
	h.NextUID = recs[len(recs)-1].UID + 1
	err := f.replace(h, func(old iter.Seq[Record]) iter.Seq[Record] {
		return func(yield func(Record) bool) {
			for r := range old {
				if !yield(r) {
					return
				}
			}
			for _, r := range recs {
				if !yield(r) {
					return
				}
			}
		}
	}, Steps{})
	if err != nil {
		return err
	}
	return f.Settle()
}

// Rewrite replaces the list, durable on return. live yields the records in ascending order
// of UIDs; a record without fields keeps those that it has in the list. A header without a
// GUID gets one, and NextUID does not decrease while UIDVALIDITY stays the same. The caller
// must hold the lock and have called Refresh while holding it; if the list has changed
// since then, Rewrite returns an error.
func (f *File) Rewrite(h Header, live iter.Seq[Record]) error {
	if err := f.Prepare(h, live, Steps{}); err != nil {
		return err
	}
	return f.Settle()
}

// Steps are functions that Prepare calls before the list gets its name; nil: none.
type Steps struct {
	// Meanwhile is called while another goroutine writes and syncs the list. It must not
	// change what the records are taken from.
	Meanwhile func()
	// Before is called in a goroutine of its own, and must return without an error.
	Before func() error
}

// Prepare is Rewrite, except that the list becomes durable only with Settle, possibly
// together with other files. Until then nobody may be told what is in it.
func (f *File) Prepare(h Header, live iter.Seq[Record], steps Steps) error {
	return f.replace(h, func(old iter.Seq[Record]) iter.Seq[Record] { return withFields(live, old) }, steps)
}

// Settle makes the name of the list that was last written durable.
func (f *File) Settle() error {
	if !f.unsettled {
		return nil
	}
	if err := f.dir.Sync(); err != nil {
		f.known, f.doubtful = false, true
		return err
	}
	f.unsettled = false
	return nil
}

// withFields yields the records of live; a record without fields gets those of the same
// record in old.
func withFields(live, old iter.Seq[Record]) iter.Seq[Record] {
	if old == nil {
		return live
	}
	return func(yield func(Record) bool) {
		next, stop := iter.Pull(old)
		defer stop()
		have, ok := next()
		for r := range live {
			for ok && have.UID < r.UID {
				have, ok = next()
			}
			if r.Ext == "" && ok && have.UID == r.UID && have.Base == r.Base {
				r.Ext = have.Ext
			}
			if !yield(r) {
				return
			}
		}
	}
}

// replace writes a new list, made from the records of the old one (nil: there are none),
// and renames it over the old one.
func (f *File) replace(h Header, records func(old iter.Seq[Record]) iter.Seq[Record], steps Steps) error {
	if h.UIDValidity == 0 {
		return fmt.Errorf("%s/%s: cannot write a list without UIDVALIDITY", f.dir.Path(), Name)
	}
	old, err := f.openOld()
	if err != nil {
		return err
	}
	if old != nil {
		defer old.Close()
	}
	if h.GUID == "" {
		var raw [16]byte
		_, _ = rand.Read(raw[:]) // never fails
		h.GUID = hex.EncodeToString(raw[:])
	}
	h.NextUID = max(h.NextUID, 1)
	if h.UIDValidity == f.h.UIDValidity {
		h.NextUID = max(h.NextUID, f.h.NextUID)
	}
	w := &listWriter{h: h}
	file, err := f.dir.Replace(Name, tempName, func(file *dirfd.File) error {
		w.file = file
		err := steps.during(func() error {
			var readErr error
			err := w.write(records(f.oldRecords(old, &readErr)))
			if err = errors.Join(err, readErr); err == nil && f.opt.Fsync {
				err = file.Sync()
			}
			return err
		})
		if err == nil {
			// While a disk hangs, writing may take so long that others take over the lock.
			err = f.unchanged()
		}
		return err
	})
	if err != nil {
		return err
	}
	defer file.Close()
	return f.take(w)
}

// during runs the steps while write runs, and waits for all of them. A disk makes several
// things durable faster together than one by one.
func (s *Steps) during(write func() error) error {
	if s.Meanwhile == nil && s.Before == nil {
		return write()
	}
	var running contain.Group
	var written, before error
	running.Go(func() { written = write() })
	if s.Before != nil {
		running.Go(func() { before = s.Before() })
	}
	defer running.Wait() // also after a panic
	if s.Meanwhile != nil {
		s.Meanwhile()
	}
	running.Wait()
	return errors.Join(written, before)
}

// take records that the list is what w wrote.
func (f *File) take(w *listWriter) error {
	f.unsettled = f.opt.Fsync
	now, err := f.look(w.file)
	f.known = err == nil && now.size == w.end
	f.seen, f.version, f.damaged, f.doubtful = now, 3, false, false
	f.h, f.first, f.last = w.h, w.first, w.last
	f.end, f.lines, f.lastUID = w.end, w.lines, w.lastUID
	return err
}

// openOld opens the list in the state that was last read; nil if there was none.
func (f *File) openOld() (*dirfd.File, error) {
	file, err := f.dir.Open(Name)
	if errors.Is(err, fs.ErrNotExist) {
		if !f.known {
			return nil, nil
		}
		return nil, f.changed()
	}
	if err != nil {
		return nil, err
	}
	now, err := f.look(file)
	if err == nil && !(f.known && f.seen.same(now)) {
		err = f.changed()
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// unchanged returns errChanged if the list is not in the state that was last read.
func (f *File) unchanged() error {
	file, err := f.openOld()
	if file != nil {
		_ = file.Close()
	}
	return err
}

// oldRecords yields the records of the list in the state that was last read, and sets err
// on failure; nil if there are none.
func (f *File) oldRecords(old *dirfd.File, err *error) iter.Seq[Record] {
	if old == nil || f.version == 0 {
		return nil
	}
	return func(yield func(Record) bool) {
		reader := New(f.dir, Options{Now: f.opt.Now}) // faults were logged before
		more := true
		*err = reader.readAll(old, f.seen, func(r Record) {
			more = more && yield(r)
		})
	}
}

// listWriter writes a new list.
type listWriter struct {
	file    *dirfd.File
	buf     []byte
	h       Header
	first   string
	last    string
	end     int64
	lines   int
	lastUID uint32
}

func (w *listWriter) write(records iter.Seq[Record]) error {
	w.buf = appendHeader(make([]byte, 0, newWriteSize+maxLine), w.h)
	w.first = string(w.buf[:len(w.buf)-1])
	w.last = w.first
	line := 0 // where the last line starts in buf
	for r := range records {
		if r.UID <= w.lastUID || !writable(r) {
			return fmt.Errorf("%s: cannot hold the record %d %q :%q", w.file.Name(), r.UID, r.Ext, r.Base)
		}
		if len(w.buf) >= newWriteSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
		line = len(w.buf)
		w.buf = appendRecord(w.buf, r)
		w.lastUID = r.UID
		if w.lines++; w.lines > maxRecords {
			return fmt.Errorf("%s: more than %d records", w.file.Name(), maxRecords)
		}
	}
	w.last = string(w.buf[line : len(w.buf)-1])
	w.h.NextUID = max(w.h.NextUID, w.lastUID+1)
	return w.flush()
}

func (w *listWriter) flush() error {
	n, err := w.file.Write(w.buf)
	w.end += int64(n)
	w.buf = w.buf[:0]
	return err
}
