package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"maildird/maildir/contain"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/maildirsize"
	"maildird/maildir/message"
)

// AppendOptions are the attributes of an appended message.
type AppendOptions struct {
	Flags    filename.Flags
	Keywords []string
	Date     time.Time // INTERNALDATE; zero: now
	// Binary allows parts that contain arbitrary octets: parts with the encoding "binary"
	// are stored in base64.
	Binary bool
}

// Incoming is a message on its way into the mailbox: write it with CRLF line ends, then
// pass it to Append or call Abort. It must be used by one goroutine at a time.
type Incoming struct {
	opt  AppendOptions
	temp *delivery.Temp
	body *delivery.CRLFWriter
	raw  *delivery.Temp // what was written, until Finish, if it may be binary

	finished bool
}

// Reserved returns delivery.ErrReserve if a message of size bytes would leave less free
// space on the file system than must be kept free.
func (m *Mailbox) Reserved(size int64) error { return m.dirs.Reserved(m.env.Delivery.Reserve, size) }

// NewIncoming starts a message in the mailbox's tmp/.
func (m *Mailbox) NewIncoming(opt AppendOptions) (*Incoming, error) {
	temp, err := m.newTemp()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil {
		return nil, err
	}
	in := &Incoming{opt: opt, temp: temp, body: delivery.NewCRLFWriter(temp)}
	if opt.Binary {
		if in.raw, err = delivery.NewScratch(m.dirs.Dirs, m.env.Delivery); err != nil {
			in.Abort()
			return nil, err
		}
	}
	return in, nil
}

// Write adds a piece of the message. Line ends are stored as LF.
func (in *Incoming) Write(p []byte) (int, error) {
	if in.raw != nil {
		return in.raw.Write(p)
	}
	return in.body.Write(p)
}

// Abort discards the message. It does nothing after Append.
func (in *Incoming) Abort() {
	in.temp.Abort()
	in.dropRaw()
}

func (in *Incoming) dropRaw() {
	if in.raw != nil {
		in.raw.Abort()
		in.raw = nil
	}
}

// encode converts what was written to the form in which messages are stored.
func (in *Incoming) encode() error {
	if in.raw == nil {
		return nil
	}
	defer in.dropRaw()
	size, _ := in.raw.Size()
	root, err := message.Parse(in.raw, size)
	if err != nil {
		return err
	}
	return message.EncodeBinary(in.body, in.raw, size, root)
}

// Finish makes the message, which must have been written completely, durable in tmp/.
// Append calls it for messages that are not finished; until then, each keeps a file open.
func (in *Incoming) Finish() error {
	if in.finished {
		return nil
	}
	in.finished = true
	if err := in.encode(); err != nil {
		return err
	}
	if err := in.body.Close(); err != nil {
		return err
	}
	_, err := in.temp.Finish(in.opt.Date)
	return err
}

// Taken is what messages use of a quota.
type Taken struct{ Bytes, Messages int64 }

// Taken returns what a message uses of its quota, or zero if there is no quota.
func (v *View) Taken(msg Message) Taken {
	if v.m.quota == nil {
		return Taken{}
	}
	return Taken{v.m.fileSize(msg.row), 1}
}

// Append adds the messages to the mailbox in this order, all or none, durable on return,
// and returns their UIDs. old is what the messages that these replace, and that are removed
// next, use of the quota: that much is available to the new ones.
func (m *Mailbox) Append(ctx context.Context, old Taken, in ...*Incoming) (validity uint32, uids []uint32, err error) {
	defer func() {
		for _, one := range in {
			one.Abort()
		}
	}()
	for _, one := range in {
		if err := one.Finish(); err != nil {
			return 0, nil, err
		}
	}
	if err := m.room(sizeOf(in)-old.Bytes, int64(len(in))-old.Messages); err != nil {
		return 0, nil, err
	}
	err = m.change(ctx, func(lock *dotlock.Lock) error {
		// All at once, so that if one keyword does not fit, nothing is changed.
		if _, err := m.letters(allKeywords(in), true); err != nil {
			return err
		}
		flags := make([]filename.Flags, len(in))
		for i, one := range in {
			letters, err := m.letters(one.opt.Keywords, true)
			if err != nil {
				return err
			}
			flags[i] = one.opt.Flags | letters
		}
		defer m.events.expect()()
		files := make([]entry, 0, len(in))
		for i, one := range in {
			e, err := m.commit(one.temp, flags[i])
			if err != nil {
				return m.undo(files, err)
			}
			files = append(files, e)
		}
		uids, err = m.admit(lock, files, nil)
		return err
	})
	return m.UIDValidity(), uids, err
}

// RoomBeside checks the quota's room for one more message of that many bytes, in addition
// to other incoming messages, for which the old ones are removed.
func (m *Mailbox) RoomBeside(in []*Incoming, bytes int64, old Taken) error {
	return m.room(sizeOf(in)+bytes-old.Bytes, int64(len(in))+1-old.Messages)
}

func sizeOf(in []*Incoming) (bytes int64) {
	for _, one := range in {
		size, _ := one.temp.Size()
		bytes += size
	}
	return bytes
}

func allKeywords(in []*Incoming) (words []string) {
	for _, one := range in {
		words = append(words, one.opt.Keywords...)
	}
	return words
}

// commit moves a finished temporary file into place: new/ without flags, cur/ with flags.
func (m *Mailbox) commit(temp *delivery.Temp, flags filename.Flags) (entry, error) {
	if flags == 0 {
		return m.dirs.commit(temp, table.InNew, "")
	}
	return m.dirs.commit(temp, table.InCur, filename.WithFlags("", flags))
}

// admit turns files that were just put into new/ and cur/ into messages with UIDs in the
// given order. If that fails, it removes them again.
func (m *Mailbox) admit(lock *dotlock.Lock, files []entry, ext []string) ([]uint32, error) {
	// Files and records are synced concurrently, so that the file system's journal commits
	// them together. If only the records survive a crash, their UIDs count as those of
	// removed messages.
	var syncing contain.Group
	var serr error
	syncing.Go(func() { serr = m.dirs.sync() })
	defer syncing.Wait() // also after a panic
	first, err := m.record(lock, files, ext, nil)
	if syncing.Wait(); serr != nil {
		if err == nil {
			m.expectNone(first, files)
		}
		err = errors.Join(serr, err)
	}
	if err != nil {
		return nil, m.undo(files, err)
	}
	if m.counts() {
		bytes := int64(0)
		for _, e := range files {
			bytes += maildirsize.Size(m.dirs.in(e.where), e.name)
		}
		m.count(bytes, len(files))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := unixSeconds(m.env.Now())
	uids := make([]uint32, len(files))
	for i, e := range files {
		uids[i] = first + uint32(i)
		n := m.enterNew(uids[i], e)
		m.setSaved(n, now)
		if ext != nil {
			m.setExt(n, ext[i])
		}
	}
	return uids, nil
}

// expectNone enters records that have no files, as if they had been read from the list.
func (m *Mailbox) expectNone(first uint32, files []entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range files {
		m.addRow(first+uint32(i), filename.Base(e.name))
	}
}

// undo removes files that were put into the mailbox and returns err. A file that somebody
// already moved is left alone: it is mail like any other then.
func (m *Mailbox) undo(files []entry, err error) error {
	for _, e := range files {
		if rerr := m.dirs.remove(e); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = fmt.Errorf("%w (and removing %s failed: %w)", err, e.name, rerr)
		}
	}
	if serr := m.dirs.sync(); serr != nil {
		err = errors.Join(err, serr)
	}
	return err
}
