package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
)

// Temp is one message being written in a folder's tmp/: write it, Finish it, Commit it.
// Abort may be called at any time and is best deferred. A Temp must be used by one
// goroutine at a time.
type Temp struct {
	dirs  Dirs
	opt   *Options
	file  *dirfd.File
	name  string // in tmp/; "" once it is not there any more
	base  string // set by Finish, like inode
	inode uint32
	err   error // of the first write that failed

	pack    *compress.Writer // nil: the file is not compressed
	written int64            // length of the file in bytes
	begin   []byte           // the first bytes of the text

	counter // of the text
}

// ErrCompressed means that a message starts like a compressed file: if it were stored as it
// is, readers would decompress it.
var ErrCompressed = errors.New("the message is compressed data, not mail")

// counter measures text for the "S=" and "W=" fields of a name.
type counter struct {
	size    int64 // bytes
	bareLFs int64 // LFs without a CR before them: each becomes two octets as CRLF
	endCR   bool  // the last byte was a CR
}

func (c *counter) count(p []byte) {
	if len(p) == 0 {
		return
	}
	c.size += int64(len(p))
	c.bareLFs += int64(bytes.Count(p, lf))
	if c.endCR && p[0] == '\n' {
		c.bareLFs--
	}
	if bytes.IndexByte(p, '\r') >= 0 {
		c.bareLFs -= int64(bytes.Count(p, crlf))
	}
	c.endCR = p[len(p)-1] == '\r'
}

// add adds the counts of text that follows and was measured by c2.
func (c *counter) add(c2 counter, beginsLF bool) {
	c.size += c2.size
	c.bareLFs += c2.bareLFs
	if c.endCR && beginsLF {
		c.bareLFs--
	}
	if c2.size > 0 {
		c.endCR = c2.endCR
	}
}

var lf, crlf = []byte("\n"), []byte("\r\n")

// NewTemp creates an empty file in the folder's tmp/ with the folder's rights. It does not
// recreate a tmp/ that somebody removed: OpenDirs does.
func NewTemp(d Dirs, o *Options) (*Temp, error) {
	t, err := newPlainTemp(d, o)
	if err != nil || o.Compress == compress.None {
		return t, err
	}
	if t.pack, err = compress.NewWriter(fileWriter{t}, o.Compress); err != nil {
		t.Abort()
		return nil, err
	}
	return t, nil
}

// NewScratch is NewTemp for text that is read back and does not become a message as it is.
// The file is never compressed, and has to be aborted in the end.
func NewScratch(d Dirs, o *Options) (*Temp, error) { return newPlainTemp(d, o) }

// ReadAt reads text from a Temp made by NewScratch.
func (t *Temp) ReadAt(p []byte, off int64) (int, error) { return t.file.ReadAt(p, off) }

// newPlainTemp is NewTemp for a file that is not compressed.
//
// The file has a name from the start. A file without one (O_TMPFILE), which linkat links
// into new/, would take a tenth less CPU time. But linkat changes the link count in the
// inode, and on a file system without a journal, an fsync of the directory does not write
// the inode: after a power failure, ext4 considers the file deleted, and e2fsck removes its
// name. A rename does not change the link count.
func newPlainTemp(d Dirs, o *Options) (*Temp, error) {
	rights, err := d.rights()
	if err != nil {
		return nil, err
	}
	t := &Temp{dirs: d, opt: o}
	for range nameTries {
		t.name = o.UniqueName()
		err = o.disk.begin(d.Tmp, func() (err error) {
			if rights.UID < 0 && rights.GID < 0 {
				t.file, err = d.Tmp.Create(t.name, rights.Mode&0o666|0o600)
			} else {
				t.file, err = d.Tmp.CreateAs(t.name, rights)
			}
			return err
		})
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return nil, err
}

// Write appends bytes in the form in which they are stored.
func (t *Temp) Write(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.put(p)
	t.count(p[:n])
	if err != nil {
		t.err = err
	}
	return n, err
}

// Hole appends n NULs, as a hole if the file is not compressed.
func (t *Temp) Hole(n int64) error {
	if t.pack != nil {
		_, err := io.CopyN(t, zeros{}, n)
		return err
	}
	if t.err == nil {
		if room := compress.MagicLen - len(t.begin); room > 0 {
			t.begin = append(t.begin, make([]byte, min(int64(room), n))...)
		}
		t.written += n
		if t.err = t.file.Truncate(t.written); t.err == nil {
			_, t.err = t.file.Seek(t.written, io.SeekStart)
		}
		t.add(counter{size: n}, false)
	}
	return t.err
}

// zeros is an endless reader of zero octets.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// put is Write for text that is counted elsewhere.
func (t *Temp) put(p []byte) (int, error) {
	if room := compress.MagicLen - len(t.begin); room > 0 {
		t.begin = append(t.begin, p[:min(room, len(p))]...)
	}
	if t.pack != nil {
		return t.pack.Write(p)
	}
	return fileWriter{t}.Write(p)
}

// fileWriter writes to the file of a Temp.
type fileWriter struct{ *Temp }

func (w fileWriter) Write(p []byte) (n int, err error) {
	err = w.opt.disk.with(w.dirs.Tmp, func() (err error) {
		n, err = w.file.Write(p)
		return err
	})
	w.written += int64(n)
	return n, err
}

// unpack finishes the compression.
func (t *Temp) unpack() error {
	if t.pack == nil {
		return nil
	}
	pack := t.pack
	t.pack = nil
	return pack.Close()
}

// Size returns the number of bytes written so far, and the number of octets if every line
// end were CRLF.
func (t *Temp) Size() (size, virtual int64) { return t.size, t.size + t.bareLFs }

// InodeSum returns the dirfd.InodeSum of the file's inode number, once the file is
// finished.
func (t *Temp) InodeSum() uint32 { return t.inode }

// Finish makes the file durable in tmp/ and determines its unique name, which Commit will
// use. mtime, if not zero, becomes the file's modification time, which is the message's
// INTERNALDATE.
func (t *Temp) Finish(mtime time.Time) (base string, err error) {
	return t.finish(mtime, false)
}

// finish is Finish; with keep, the file stays open for reading until Abort.
func (t *Temp) finish(mtime time.Time, keep bool) (base string, err error) {
	if t.err != nil {
		return "", t.err
	}
	fail := func(err error) (string, error) {
		t.err = err
		return "", err
	}
	if compress.Detect(t.begin) != compress.None {
		return fail(ErrCompressed)
	}
	if err := t.unpack(); err != nil {
		return fail(err)
	}
	if !mtime.IsZero() {
		if err := t.dirs.Tmp.Chtimes(t.name, mtime); err != nil {
			return fail(err)
		}
	}
	if t.opt.Fsync {
		if err := t.opt.disk.with(t.dirs.Tmp, t.file.Sync); err != nil {
			return fail(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &st); err != nil {
		return fail(&fs.PathError{Op: "stat", Path: t.file.Name(), Err: err})
	}
	if st.Size != t.written {
		return fail(fmt.Errorf("%s has %d bytes after %d were written: another program changed it", t.file.Name(), st.Size, t.written))
	}
	if !keep {
		err := t.file.Close()
		t.file = nil
		if err != nil {
			return fail(err)
		}
	}
	t.base, t.inode = t.finalName(uint64(st.Dev), st.Ino), dirfd.InodeSum(st.Ino)
	return t.base, nil
}

// finalName returns "<sec>.M<usec>P<pid>V<dev>I<ino>.<host>,S=<size>,W=<virtual>", with
// device and inode number in hexadecimal. The inode number makes it unique on this machine
// whatever the clock does.
func (t *Temp) finalName(dev, ino uint64) string {
	field := strconv.AppendUint(nil, dev, 16)
	field = append(field, 'I')
	field = strconv.AppendUint(field, ino, 16)
	b := []byte(t.opt.name('V', string(field)))
	b = append(b, ",S="...)
	b = strconv.AppendInt(b, t.size, 10)
	b = append(b, ",W="...)
	b = strconv.AppendInt(b, t.size+t.bareLFs, 10)
	return string(b)
}

// nameTries limits how often another name is tried if one is taken. That is only expected
// where servers in containers have the same process number and host name.
const nameTries = 5

// Commit renames the finished file to base+info in the directory to (new/ with info "",
// cur/ with info ":2,..."), without ever replacing another file. The caller must sync the
// directory before it reports the message as stored. If the name was taken, name has a
// different base than Finish returned. A rename that fails may have been done all the same, as
// on a network file system after a timeout: then Commit succeeds, or the sender would deliver
// the message twice.
func (t *Temp) Commit(to *dirfd.Dir, info string) (name string, err error) {
	if t.base == "" {
		return "", errors.New("commit of a message that is not finished")
	}
	for range nameTries {
		name = t.base + info
		err = t.opt.disk.with(t.dirs.Tmp, func() error { return t.dirs.Tmp.RenameNoReplace(t.name, to, name) })
		if err == nil {
			t.name = ""
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			if st, serr := to.Lstat(name); serr == nil && st.InodeSum() == t.inode {
				return name, nil // Abort removes the old name, if it is left
			}
			return "", err
		}
		t.base = t.opt.UniqueName() + t.base[bytes.LastIndex([]byte(t.base), []byte(",S=")):]
	}
	return "", err
}

// Abort removes the file from tmp/. It does nothing after Commit.
func (t *Temp) Abort() {
	if t.pack != nil {
		t.pack.Discard()
		t.pack = nil
	}
	if t.file != nil {
		_ = t.file.Close()
		t.file = nil
	}
	if t.name != "" {
		_ = t.opt.disk.with(t.dirs.Tmp, func() error { return t.dirs.Tmp.Remove(t.name) })
		t.name = ""
	}
	if t.err == nil {
		t.err = fs.ErrClosed
	}
}
