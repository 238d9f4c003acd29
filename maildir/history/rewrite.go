package history

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"time"

	"maildird/maildir/dirfd"
)

// WantsRewrite reports whether Rewrite is due, given the number of live messages. A few
// thousand records are read faster than a file is synced, for which somebody may be waiting.
func (f *File) WantsRewrite(live int) bool {
	if f.failed != nil && f.opt.Now().Before(f.retry) {
		return false
	}
	return f.rewrite || f.records > 2*(live+len(f.gone))+5000
}

// Entry is a message, when it last changed, and when it was saved (like Saved.At, 0 if
// unknown).
type Entry struct {
	State
	ModSeq uint64
	Saved  uint32
}

// Rewrite replaces the file by one with these messages (in any order; the slice is sorted)
// and the removed ones that are remembered. It must not be called while EndLost.
func (f *File) Rewrite(live []Entry) error {
	slices.SortFunc(live, func(a, b Entry) int {
		if c := cmp.Compare(a.ModSeq, b.ModSeq); c != 0 {
			return c
		}
		return cmp.Compare(a.UID, b.UID)
	})
	if err := f.writeNew(live); err != nil {
		return f.fail(err)
	}
	f.failed = nil
	return nil
}

// writeNew replaces the journal. The new one is durable before that if there is an old one:
// after a crash, there is one of the two.
func (f *File) writeNew(live []Entry) error {
	h, size, last, written := f.h, headerSize, uint64(0), dirfd.Stat{}
	file, err := f.dir.Replace(Name, tempName, func(file *dirfd.File) error {
		st, err := dirfd.FileStat(file)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(file, 256<<10)
		if _, err := w.Write(make([]byte, headerSize)); err != nil {
			return err
		}
		var n int
		if last, n, err = f.writeFrames(w, live); err != nil {
			return err
		}
		size += n
		if err := w.Flush(); err != nil {
			return err
		}
		h.inode, h.birth, h.base = st.Ino, dirfd.Birth(file), uint32(min(size, maxFile))
		if _, err := file.WriteAt(h.encode(), 0); err != nil {
			return err
		}
		if f.opt.Fsync && f.inode != 0 {
			if err := f.opt.DataSync(file); err != nil {
				return err
			}
			// The rename changes the change time, and a sync may take long: see readHeader.
			_ = f.dir.Chtimes(tempName, time.Now())
		}
		written, err = dirfd.FileStat(file)
		return err
	})
	if err != nil {
		return err
	}
	_ = file.Close()
	f.h = h
	f.stored = stored{inode: written.Ino, size: int64(size), mtime: written.Mtime, last: last, records: len(live) + len(f.gone)}
	return nil
}

// writeFrames writes one frame for each mod-sequence that occurs. The first one has the
// names of all letters, and all gaps.
func (f *File) writeFrames(w io.Writer, live []Entry) (last uint64, size int, err error) {
	var b []byte
	frame := Frame{gaps: f.gaps}
	removed := f.gone
	for i, name := range f.letters {
		if name != "" {
			frame.Letters = append(frame.Letters, Letter{i, name})
		}
	}
	for len(live)+len(removed)+len(frame.Letters)+len(frame.gaps) > 0 {
		frame.ModSeq, frame.Changed, frame.Gone, frame.Saved = f.h.highest, frame.Changed[:0], frame.Gone[:0], frame.Saved[:0]
		if len(live) > 0 {
			frame.ModSeq = min(frame.ModSeq, live[0].ModSeq)
		}
		if len(removed) > 0 {
			frame.ModSeq = min(frame.ModSeq, removed[0].modseq)
		}
		for len(live) > 0 && live[0].ModSeq == frame.ModSeq {
			frame.Changed = append(frame.Changed, live[0].State)
			if e := &live[0]; e.Saved != 0 {
				frame.Saved = append(frame.Saved, Saved{e.UID, e.Saved})
			}
			live = live[1:]
		}
		for len(removed) > 0 && removed[0].modseq == frame.ModSeq {
			frame.Gone = append(frame.Gone, removed[0].Run)
			removed = removed[1:]
		}
		b = appendSplit(b[:0], last, frame)
		if _, err := w.Write(b); err != nil {
			return 0, 0, err
		}
		last = frame.ModSeq
		size += len(b)
		frame.Letters, frame.gaps = nil, nil
	}
	return last, size, nil
}
