// Package delivery writes messages into a Maildir so that a reader sees a
// whole message or none, and a crash loses none that was acknowledged.
//
// A message is written under tmp/, made durable there (fsync), renamed to its
// final unique name in new/ or cur/, and the directory that got the name is
// made durable (fsync) before anybody is told that it was stored. Between the
// last two steps a crash may lose the name: the sender was not answered yet
// and sends again. The name is unique by construction and the rename refuses
// to replace, so no message can take another's place. Deliveries into one folder
// at the same time share an fsync of the directory if all their names were there
// when it began. No lock is taken and no UID assigned: that is the reader's work.
//
// Sources: http://cr.yp.to/proto/maildir.html for the order of steps and the
// fields of a unique name; Courier's Maildir++ for "S="; Dovecot for "W=".
//
// delivery.go has the unique names and the directories of a folder, temp.go writes one
// file and gives it its name. spool.go writes one message for several folders, commit.go
// makes them all have it, groups.go says which of them have it together, and wide.go how
// many may be under way at once; groupsync.go is the shared fsync. crlf.go makes the line ends those on disk, cause.go tells what
// an error means to a sender, clean.go empties tmp/ of what is left over.
package delivery

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
)

// Options are shared by all deliveries of a process, by pointer. Fields must
// not change after first use. Safe for concurrent use.
type Options struct {
	Host  string           // host part of unique names; any text, escaped as needed
	PID   int              // process id in unique names
	Fsync bool             // false: trust the kernel to write in time; a power cut may lose mail
	Now   func() time.Time // nil: time.Now

	Compress compress.Format // of the files: None, Gzip or Zstd

	Reserve uint64 // bytes of the file system that a message has to leave free; 0: none

	hostOnce sync.Once
	host     string

	last  atomic.Int64  // microseconds of the last name given
	count atomic.Uint64 // names in tmp/ given

	// wide is for Spools that have many folders open at once, and wideLast for those that
	// wait for somebody else meanwhile: nobody else is to wait for him too.
	wide, wideLast wide

	syncs groupSync
}

// longestHost keeps a whole name, with sizes, flags and other programs'
// additions, inside the 255 bytes of a file name.
const longestHost = 100

// hostPart is the host as it may stand in a file name: Dovecot and the Maildir
// specification write a slash as \057 and a colon as \072; a comma would begin
// a field, and bytes outside printable ASCII do not survive every tool.
func (o *Options) hostPart() string {
	o.hostOnce.Do(func() {
		var b strings.Builder
		for i := 0; i < len(o.Host) && b.Len() < longestHost; i++ {
			c := o.Host[i]
			if c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == ',' || c == '\\' {
				b.WriteByte('\\')
				b.WriteByte('0' + c>>6)
				b.WriteByte('0' + c>>3&7)
				b.WriteByte('0' + c&7)
				continue
			}
			b.WriteByte(c)
		}
		if o.host = b.String(); o.host == "" {
			o.host = "localhost"
		}
	})
	return o.host
}

// stamp returns the time in microseconds, later than any it returned before:
// names sort in the order in which they were given.
func (o *Options) stamp() (sec, usec int64) {
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	t := now().UnixMicro()
	for {
		last := o.last.Load()
		if t <= last {
			t = last + 1
		}
		if o.last.CompareAndSwap(last, t) {
			return t / 1e6, t % 1e6
		}
	}
}

// UniqueName returns a fresh base "<sec>.M<usec>P<pid>Q<count>.<host>" that no
// other message has: no other call in this process, and no other process, gives it.
func (o *Options) UniqueName() string {
	return o.name('Q', strconv.FormatUint(o.count.Add(1), 10))
}

// name builds "<sec>.M<usec>P<pid><field><value>.<host>".
func (o *Options) name(field byte, value string) string {
	sec, usec := o.stamp()
	b := make([]byte, 0, 96+len(o.hostPart()))
	b = strconv.AppendInt(b, sec, 10)
	b = append(b, ".M"...)
	b = strconv.AppendInt(b, usec, 10)
	b = append(b, 'P')
	b = strconv.AppendInt(b, int64(o.PID), 10)
	b = append(b, field)
	b = append(b, value...)
	b = append(b, '.')
	b = append(b, o.hostPart()...)
	return string(b)
}

// Dirs are the open directories of one folder.
type Dirs struct {
	Folder, Tmp, New, Cur *dirfd.Dir
	// Rights of new files, if it is known that the folder's are still the same;
	// nil: they are looked up for each file.
	Rights *dirfd.Rights
	// Room, if not nil, says whether the quota of the Maildir has room for a
	// message of so many bytes. It is asked before a message gets its name, if the
	// answer is one recipient's alone.
	Room func(size int64) error
}

// rights returns what new files take over from the folder.
func (d Dirs) rights() (dirfd.Rights, error) {
	if d.Rights != nil {
		return *d.Rights, nil
	}
	return d.Folder.Rights()
}

// OpenDirs opens the directories of a folder and creates those that are
// missing, with the rights of the folder. The folder's handle belongs to the
// result; after an error it still is the caller's.
func OpenDirs(folder *dirfd.Dir) (Dirs, error) { return openDirs(folder, openOrCreate) }

// FindDirs is OpenDirs, but makes nothing: fs.ErrNotExist where one is missing.
func FindDirs(folder *dirfd.Dir) (Dirs, error) {
	return openDirs(folder, func(folder *dirfd.Dir, name string) (*dirfd.Dir, bool, bool, error) {
		d, err := folder.OpenDir(name)
		return d, false, false, err
	})
}

func openDirs(folder *dirfd.Dir, open func(folder *dirfd.Dir, name string) (d *dirfd.Dir, missing, created bool, err error)) (Dirs, error) {
	d := Dirs{Folder: folder}
	var made []string
	sync := false
	// Who comes next would take what was made for durable.
	fail := func(err error) (Dirs, error) {
		d.closeSubs()
		for _, name := range made {
			_ = folder.RemoveDir(name)
		}
		return Dirs{}, err
	}
	for _, sub := range []struct {
		dir  **dirfd.Dir
		name string
	}{{&d.Tmp, "tmp"}, {&d.New, "new"}, {&d.Cur, "cur"}} {
		dir, missing, created, err := open(folder, sub.name)
		if err != nil {
			return fail(err)
		}
		*sub.dir = dir
		sync = sync || missing
		if created {
			made = append(made, sub.name)
		}
	}
	if sync {
		if err := folder.Sync(); err != nil {
			return fail(err)
		}
	}
	return d, nil
}

// openOrCreate opens a directory that may be missing, and tells whether it was, and
// whether it was created here.
func openOrCreate(folder *dirfd.Dir, name string) (d *dirfd.Dir, missing, created bool, err error) {
	d, err = folder.OpenDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, false, false, err
	}
	rights, err := folder.Rights()
	if err != nil {
		return nil, true, false, err
	}
	d, err = folder.MkdirAs(name, rights)
	if errors.Is(err, fs.ErrExist) {
		d, err = folder.OpenDir(name) // another process was faster
		return d, true, false, err
	}
	return d, true, err == nil, err
}

// Close closes all four handles.
func (d Dirs) Close() {
	d.closeSubs()
	_ = d.Folder.Close()
}

func (d Dirs) closeSubs() {
	for _, sub := range []*dirfd.Dir{d.Tmp, d.New, d.Cur} {
		if sub != nil {
			_ = sub.Close()
		}
	}
}
