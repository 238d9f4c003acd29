package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/message"
)

// File is the plain text of an open message, whose file may be compressed. The zero value
// is a File that is not open.
type File struct {
	Size  int64     // bytes of the text
	Mtime time.Time // INTERNALDATE
	Begin []byte    // the part of the text that was read by opening it
	// Source identifies the file, for the cache.
	Source cache.Source

	file  dirfd.Reader
	plain *compress.Plain // nil: the file is not compressed
}

// Room returns a buffer for the beginning of a text, which is read when it is opened. size
// is the size of its file.
type Room func(size int64) []byte

// Hole implements message.Sparse.
func (f *File) Hole(off int64) int64 {
	if f.plain != nil {
		return off
	}
	return f.file.Hole(off)
}

// ReadAt implements io.ReaderAt for the plain text.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.plain != nil {
		return f.plain.ReadAt(p, off)
	}
	return f.file.ReadAt(p, off)
}

// Close closes the file.
func (f *File) Close() error {
	if f.plain != nil {
		_ = f.plain.Close()
		f.plain = nil
	}
	return f.file.Close()
}

// open opens the file with that name. The first bytes, which are read anyway, show whether
// it is compressed.
func (f *File) open(in *dirfd.Dir, name string, room Room, scratch *compress.Scratch) error {
	*f = File{}
	if err := in.OpenReader(&f.file, name); err != nil {
		return err
	}
	f.Size, f.Mtime = f.file.Size(), f.file.Mtime()
	f.Source = cache.Source{Inode: f.file.InodeSum(), Length: uint32(f.Size)}
	err := f.begin(room, scratch)
	if err != nil {
		_ = f.Close()
	}
	return err
}

func (f *File) begin(room Room, scratch *compress.Scratch) error {
	buf := room(f.Size)
	ahead := buf[:min(f.Size, int64(len(buf)))]
	n, err := f.file.ReadAt(ahead, 0)
	if err != nil && err != io.EOF {
		return err
	}
	f.Begin = ahead[:n]
	if n < compress.MagicLen && int64(n) < f.Size || compress.Detect(f.Begin) != compress.None {
		if f.plain, err = compress.Open(&f.file, f.Size, compress.Limit, scratch); err != nil {
			return fmt.Errorf("%s: %w", f.file.Path(), err)
		}
	}
	if f.plain == nil {
		return nil
	}
	f.Size = f.plain.Size
	if n, err = f.plain.ReadAt(buf[:min(f.Size, int64(len(buf)))], 0); err != nil && err != io.EOF {
		return err
	}
	f.Begin = buf[:n]
	return nil
}

// noRoom is for callers that read the text later.
func noRoom(int64) []byte { return nil }

// Open opens a message in f, which is not open, and reads the beginning of the text. If the
// message's file is not where it was last seen, Open searches for it before it returns ErrGone
// or ErrBusy. The caller closes f.
func (v *View) Open(f *File, m Message, room Room) error { return v.m.open(v.ctx, f, m, room) }

// KnownSize is Size if that is known without opening the file.
func (v *View) KnownSize(m Message) (int64, bool) { return v.m.knownSize(m) }

// Size returns the size of the message in octets with CRLF line ends (RFC822.SIZE).
// Counting may take long; check is called often, and an error from it ends the counting.
func (v *View) Size(m Message, check func() error) (int64, error) { return v.m.size(v.ctx, m, check) }

// Date returns the message's INTERNALDATE, the modification time of its file.
func (v *View) Date(m Message) (time.Time, error) { return v.m.date(v.ctx, m) }

// SetSize stores the number of octets of the message with CRLF line ends, as counted in the
// file of. It overrides or complements what the file name says.
func (v *View) SetSize(m Message, size int64, of cache.Source) { v.m.setSize(m, size, of) }

// location returns where the message's file is, as far as the table knows.
func (m *Mailbox) location(msg Message) (entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r := m.t.Row(msg.row)
	if r.State != table.Present {
		return entry{}, ErrGone
	}
	return entry{where: r.Where, name: m.t.FileName(msg.row)}, nil
}

// retries is how often a file is searched for that other programs keep renaming.
const retries = 10

// withFile calls f with the place of the message's file. If f returns fs.ErrNotExist
// because the file was renamed meanwhile, withFile calls it again with the new place.
func (m *Mailbox) withFile(ctx context.Context, msg Message, f func(entry) error) error {
	for i := 0; ; i++ {
		e, err := m.location(msg)
		if err != nil {
			return err
		}
		err = f(e)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if i == retries {
			return ErrBusy // the table has the message
		}
		if err := m.lookAgain(ctx, msg, e); err != nil {
			return err
		}
	}
}

// lookAgain brings the table in step with the files after the message's file was not found
// at e.
func (m *Mailbox) lookAgain(ctx context.Context, msg Message, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, changePatience)
	defer cancel()
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	if now, err := m.location(msg); err != nil || now != e {
		return err // somebody else looked meanwhile
	}
	m.events.orderScan()
	if err := m.look(ctx); err != nil && !errors.Is(err, errPutOff) {
		return err
	}
	m.wake()
	return nil
}

// find makes sure that the table has the place of a message's file: a moment ago it was there.
func (m *Mailbox) find(ctx context.Context, msg Message) error {
	return m.withFile(ctx, msg, func(e entry) error {
		_, err := m.dirs.lstat(e)
		return err
	})
}

func (m *Mailbox) open(ctx context.Context, f *File, msg Message, room Room) error {
	return m.withFile(ctx, msg, func(e entry) error { return f.open(m.dirs.in(e.where), e.name, room, m.env.Scratch) })
}

func (m *Mailbox) size(ctx context.Context, msg Message, check func() error) (int64, error) {
	if n, ok := m.knownSize(msg); ok {
		return n, nil
	}
	var f File
	if err := m.open(ctx, &f, msg, noRoom); err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := message.VirtualSize(message.Checked(&f, check), f.Size)
	if err == nil {
		m.setSize(msg, n, f.Source)
		m.keep(m.texts.main, msg, &cache.Record{Size: f.Size, Mtime: f.Mtime, Virtual: n, Source: f.Source})
	}
	return n, err
}

func (m *Mailbox) knownSize(msg Message) (int64, bool) {
	if n, ok := m.texts.main.Size(msg.row); ok {
		return n, true
	}
	m.mu.RLock()
	_, n := filename.Sizes(string(m.t.Base(msg.row)))
	m.mu.RUnlock()
	return n, n >= 0
}

func (m *Mailbox) setSize(msg Message, size int64, of cache.Source) {
	if _, err := m.location(msg); err == nil {
		m.texts.main.SetSize(msg.row, size, of)
	}
}

func (m *Mailbox) date(ctx context.Context, msg Message) (time.Time, error) {
	if t, ok := m.texts.main.Date(msg.row); ok {
		return t, nil
	}
	var st dirfd.Stat
	err := m.withFile(ctx, msg, func(e entry) (err error) {
		st, err = m.dirs.lstat(e)
		return err
	})
	if err == nil {
		m.keep(m.texts.main, msg, &cache.Record{Size: -1, Mtime: st.Mtime, Virtual: -1, Source: sourceOf(st)})
	}
	return st.Mtime, err
}
