// Package quota says how much one user's Maildir holds and may hold, by the
// file "maildirsize" (package maildirsize), which Courier, Dovecot, maildrop and
// Exim share: the limit is its first line, and what the Maildir holds is the sum
// of its other lines, so that a question costs one small file, however much
// mail there is.
//
// A limit that is configured counts, and is written to the file, as in
// Dovecot; the file's own counts where none is. All folders are counted anew
//
//   - if there is no file, or it makes no sense, or its limit is not the
//     configured one;
//   - if it is longer than 5120 bytes;
//   - if the limit would be passed, unless the file was written anew less than
//     15 minutes ago and nothing was added to it since: what programs that do
//     not keep the file took away is found before mail is refused.
//
// Without any limit nothing is counted, and no file is made.
package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/maildirsize"
	"maildird/maildir/walk"
)

// Limit is what a Maildir may hold: bytes as they are counted in maildirsize,
// and messages; 0 is no limit.
type Limit = maildirsize.Limit

// ErrOver says that there is no room for what is to be added.
var ErrOver = maildirsize.ErrOver

// ErrNever is ErrOver for what is larger than the whole quota.
var ErrNever = maildirsize.ErrNever

// staleAfter is how long a file is trusted that says that a Maildir is full.
const staleAfter = 15 * time.Minute

// Usage is what a Maildir holds and may hold. What is not limited is not
// counted either.
type Usage struct {
	Limit           Limit
	Bytes, Messages int64
}

// fits tells whether the limit allows more.
func (u *Usage) fits(bytes, messages int64) bool {
	return (u.Limit.Bytes == 0 || u.Bytes+bytes <= u.Limit.Bytes) &&
		(u.Limit.Messages == 0 || u.Messages+messages <= u.Limit.Messages)
}

// Quota is that of one Maildir. Safe for concurrent use.
type Quota struct {
	root *dirfd.Dir
	log  *slog.Logger
	now  func() time.Time

	configured atomic.Pointer[Limit]

	counting sync.Mutex // all folders are counted by one at a time
}

// New returns the quota of the Maildir with this root, which stays the
// caller's.
func New(root *dirfd.Dir, log *slog.Logger, now func() time.Time) *Quota {
	q := &Quota{root: root, log: log, now: now}
	q.Configure(Limit{})
	return q
}

// Configure sets the limit that counts before that of the file; the zero Limit
// for none.
func (q *Quota) Configure(l Limit) {
	q.configured.Store(&l)
}

// Usage tells what the Maildir holds.
func (q *Quota) Usage() (Usage, error) { return q.look(0, 0) }

// Room returns ErrOver if there is no room for that many bytes and messages
// more, ErrNever if there never will be. If it cannot be known there is room: mail
// is not refused for it. There always is for what takes no more than is removed for it.
func (q *Quota) Room(bytes, messages int64) error {
	if bytes <= 0 && messages <= 0 {
		return nil
	}
	u, err := q.look(bytes, messages)
	if err != nil {
		q.log.Warn("a Maildir's quota cannot be checked", "maildir", q.root.Path(), "error", err)
		return nil
	}
	if u.fits(bytes, messages) {
		return nil
	}
	over := ErrOver
	if u.Limit.Bytes > 0 && bytes > u.Limit.Bytes {
		over = ErrNever
	}
	return fmt.Errorf("%w: %d bytes and %d messages exist, the limit is %s, and %d bytes would be added",
		over, u.Bytes, u.Messages, u.Limit, bytes)
}

// Limited tells whether there is a limit.
func (q *Quota) Limited() (bool, error) {
	if *q.configured.Load() != (Limit{}) {
		return true, nil
	}
	s, err := maildirsize.Read(q.root)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, maildirsize.ErrDamaged) {
		err = nil
	}
	return s.Limit != (Limit{}), err
}

// look reads the file, and counts anew if that is due.
func (q *Quota) look(bytes, messages int64) (Usage, error) {
	q.counting.Lock()
	defer q.counting.Unlock()
	s, err := maildirsize.Read(q.root)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing && !errors.Is(err, maildirsize.ErrDamaged) {
		return Usage{}, err
	}
	u := Usage{Limit: *q.configured.Load(), Bytes: s.Bytes, Messages: s.Messages}
	if u.Limit == (Limit{}) {
		u.Limit = s.Limit
	}
	if u.Limit == (Limit{}) {
		return Usage{}, nil
	}
	fresh := s.Lines == 1 && q.now().Sub(s.Mtime) < staleAfter
	if err == nil && s.Limit == u.Limit && s.Size <= maildirsize.LongFile && (fresh || u.fits(bytes, messages)) {
		return u, nil
	}
	if u.Bytes, u.Messages, err = q.count(); err != nil {
		return Usage{}, err
	}
	if err := maildirsize.Write(q.root, u.Limit, u.Bytes, u.Messages); err != nil {
		// It is counted again next time.
		q.log.Warn("maildirsize cannot be written", "maildir", q.root.Path(), "error", err)
	}
	return u, nil
}

// count adds up all folders.
func (q *Quota) count() (bytes, messages int64, err error) {
	dirs, err := walk.Tree(q.root)
	if err != nil {
		return 0, 0, err
	}
	for _, d := range dirs {
		if !d.Folder {
			continue
		}
		folder, err := walk.Open(q.root, d.Path)
		if walk.Gone(err) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		size, n := maildirsize.Folder(folder)
		_ = folder.Close()
		bytes += size
		messages += int64(n)
	}
	return bytes, messages, nil
}

// Kept tells whether there is a file in which what comes and goes is counted.
func (q *Quota) Kept() bool { return maildirsize.Kept(q.root) }

// Add counts what came or, negative, went.
func (q *Quota) Add(bytes int64, messages int) error {
	return maildirsize.Add(q.root, bytes, messages)
}
