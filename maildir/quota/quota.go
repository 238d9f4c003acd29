// Package quota determines how much one user's Maildir contains and may contain, from the
// file "maildirsize" (package maildirsize), which is shared with Courier, Dovecot, maildrop
// and Exim: its first line is the limit, and the sum of the other lines is what the Maildir
// contains, so that a check reads one small file, however much mail there is.
//
// A configured limit takes precedence, and is written to the file, as in Dovecot; if none
// is configured, the file's limit applies. All folders are counted again
//
//   - if there is no file, or it is malformed, or its limit differs from the configured
//     one;
//   - if it is longer than 5120 bytes;
//   - if the limit would be exceeded, unless the file was rewritten less than 15 minutes
//     ago and nothing was added to it since: so mail that was removed by programs that do
//     not maintain the file is noticed before mail is refused.
//
// Without any limit, nothing is counted, and no file is created.
package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/maildirsize"
	"maildird/maildir/walk"
)

// Limit is what a Maildir may contain: bytes as counted in maildirsize, and messages; 0
// means no limit.
type Limit = maildirsize.Limit

// ErrOver means that there is no room for what is to be added.
var ErrOver = maildirsize.ErrOver

// ErrNever is ErrOver for something larger than the whole quota.
var ErrNever = maildirsize.ErrNever

// staleAfter is how long a file that says that a Maildir is full is trusted.
const staleAfter = 15 * time.Minute

// Usage is what a Maildir contains and may contain. Without a limit, nothing is counted.
type Usage struct {
	Limit           Limit
	Bytes, Messages int64
}

// fits reports whether the limit allows that much more.
func (u *Usage) fits(bytes, messages int64) bool {
	return (u.Limit.Bytes == 0 || u.Bytes+bytes <= u.Limit.Bytes) &&
		(u.Limit.Messages == 0 || u.Messages+messages <= u.Limit.Messages)
}

// Quota is the quota of one Maildir. It is safe for concurrent use.
type Quota struct {
	root *dirfd.Dir
	log  *slog.Logger
	now  func() time.Time

	configured atomic.Pointer[Limit]

	counting sync.Mutex // held while counting all folders
}

// New returns the quota of the Maildir with this root, which still belongs to the caller.
func New(root *dirfd.Dir, log *slog.Logger, now func() time.Time) *Quota {
	q := &Quota{root: root, log: log, now: now}
	q.Configure(Limit{})
	return q
}

// Configure sets the limit that takes precedence over that in the file; the zero Limit for
// none.
func (q *Quota) Configure(l Limit) {
	q.configured.Store(&l)
}

// Usage returns what the Maildir contains and may contain.
func (q *Quota) Usage() (Usage, error) { return q.look(0, 0) }

// Room returns ErrOver if there is no room for that many more bytes and messages, and
// ErrNever if there never will be. If that cannot be determined, it returns nil, so that
// mail is not refused. There is always room for what needs no more than is removed for it.
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
		over, u.Bytes, u.Messages, inWords(u.Limit), bytes)
}

func inWords(l Limit) string {
	var words []string
	if l.Bytes > 0 {
		words = append(words, fmt.Sprintf("%d bytes", l.Bytes))
	}
	if l.Messages > 0 {
		words = append(words, fmt.Sprintf("%d messages", l.Messages))
	}
	return strings.Join(words, " and ")
}

// Limited reports whether there is a limit.
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

// look reads the file, and counts the folders again if necessary.
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
	fresh := s.Lines == 1 && q.now().Sub(s.Mtime).Abs() < staleAfter // the clock may have been set back
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

// Kept reports whether there is a file in which additions and removals are counted.
func (q *Quota) Kept() bool { return maildirsize.Kept(q.root) }

// Add records what was added or, if negative, removed.
func (q *Quota) Add(bytes int64, messages int) error {
	return maildirsize.Add(q.root, bytes, messages)
}
