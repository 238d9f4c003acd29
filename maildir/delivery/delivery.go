// Package delivery writes messages into a Maildir so that readers see a whole message or
// none, and a crash loses no message that was acknowledged.
//
// A message is written in tmp/, made durable there (fsync), and renamed to its final unique
// name in new/ or cur/; then the directory with the new name is made durable (fsync) before
// anybody is told that the message was stored. A crash between the last two steps may lose
// the name: the sender has not been answered yet and sends the message again. The name is
// unique by construction, and the rename refuses to replace a file, so no message can
// overwrite another. Simultaneous deliveries into one folder share an fsync of the
// directory if all their names existed when it started. No lock is taken and no UID
// assigned: that is left to the reader.
//
// Sources: http://cr.yp.to/proto/maildir.html for the order of steps and the fields of a
// unique name; Courier's Maildir++ for "S="; Dovecot for "W=".
//
// delivery.go has the unique names and the directories of a folder, and temp.go writes one
// file and renames it into place. spool.go writes one message for several folders, memory.go
// holds what is not in a file yet, commit.go delivers it to all of them, groups.go defines
// which of them get it together, wide.go limits how many may be in progress at once,
// places.go how many system calls may wait for the disk, and groupsync.go is the shared
// fsync. crlf.go converts line ends, cause.go classifies errors for the sender, and clean.go
// removes what is left over in tmp/.
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

// Options are shared by all deliveries of a process, by pointer. The exported fields must
// not change after first use. Options are safe for concurrent use.
type Options struct {
	Host  string           // host part of unique names; any text, escaped as needed
	PID   int              // process id in unique names
	Fsync bool             // false: the kernel writes when it likes, and a power failure may lose mail
	Now   func() time.Time // nil: time.Now

	Compress compress.Format // format of the files: None, Gzip or Zstd

	Reserve uint64 // bytes that must stay free on the file system after a message is stored; 0: none

	hostOnce sync.Once
	host     string

	last  atomic.Int64  // microseconds of the last name generated
	count atomic.Uint64 // number of names generated for tmp/

	// wide is for Spools that have many folders open at once, and wideLast for those of
	// them that wait for somebody else meanwhile, so that no other Spool has to wait for
	// that too.
	wide, wideLast wide

	syncs  groupSync
	disk   places
	wholes atomic.Int64 // number of Spools with spoolMemory
}

// longestHost keeps a complete name, with sizes, flags and other programs' additions,
// within the 255 bytes of a file name.
const longestHost = 100

// hostPart returns the host as it may appear in a file name: Dovecot and the Maildir
// specification write a slash as \057 and a colon as \072; a comma would start a field, and
// bytes outside printable ASCII do not survive every tool.
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

// stamp returns the time in microseconds, later than any it has returned before, so that
// names sort in the order in which they were generated.
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

// UniqueName returns a new base "<sec>.M<usec>P<pid>Q<count>.<host>" that no other message
// has: no other call in this process, and no other process, generates it.
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
	// Rights are those of new files, if it is known that the folder's have not changed;
	// nil: they are looked up for each file.
	Rights *dirfd.Rights
	// Room, if not nil, returns an error if the quota of the Maildir has no room for a
	// message of size bytes. It is called before a message gets its name if the result
	// concerns only one recipient.
	Room func(size int64) error
}

// rights returns the rights that new files inherit from the folder.
func (d Dirs) rights() (dirfd.Rights, error) {
	if d.Rights != nil {
		return *d.Rights, nil
	}
	return d.Folder.Rights()
}

// OpenDirs opens the directories of a folder and creates those that are missing, with the
// folder's rights. The result takes ownership of the folder's handle; after an error, the
// caller keeps it.
func OpenDirs(folder *dirfd.Dir) (Dirs, error) { return openDirs(folder, openOrCreate) }

// FindDirs is OpenDirs without creating anything: it returns fs.ErrNotExist if a directory
// is missing.
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
	// Otherwise, the next caller would assume that the new directories are durable.
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

// openOrCreate opens a directory that may be missing, and reports whether it was missing,
// and whether this call created it.
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
