package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
)

// Temp is one message being written in a folder's tmp/: write it, Finish it,
// Commit it. Abort at any time, best deferred. For one goroutine.
type Temp struct {
	dirs  Dirs
	opt   *Options
	file  *os.File
	name  string // in tmp/; "" when it is not there any more
	base  string // set by Finish, and inode
	inode uint32
	err   error // of the first write that failed

	pack    *compress.Writer // nil: the file is not compressed
	written int64            // bytes of the file
	begin   []byte           // the first bytes of the text

	counter // of the text
}

// ErrCompressed says that a message begins like a compressed file: stored as it
// is, it would be read as what it decompresses to.
var ErrCompressed = errors.New("the message is compressed data, not mail")

// counter measures text for the "S=" and "W=" fields of a name.
type counter struct {
	size  int64 // bytes
	bare  int64 // LFs with no CR before them: each is one octet more as CRLF
	endCR bool  // the last byte was a CR
}

func (c *counter) count(p []byte) {
	if len(p) == 0 {
		return
	}
	c.size += int64(len(p))
	c.bare += int64(bytes.Count(p, lf))
	if c.endCR && p[0] == '\n' {
		c.bare--
	}
	if bytes.IndexByte(p, '\r') >= 0 {
		c.bare -= int64(bytes.Count(p, crlf))
	}
	c.endCR = p[len(p)-1] == '\r'
}

// add counts text that c2 has measured, as if it followed.
func (c *counter) add(c2 counter, beginsLF bool) {
	c.size += c2.size
	c.bare += c2.bare
	if c.endCR && beginsLF {
		c.bare--
	}
	if c2.size > 0 {
		c.endCR = c2.endCR
	}
}

var lf, crlf = []byte("\n"), []byte("\r\n")

// NewTemp creates an empty file in the folder's tmp/ with the folder's rights.
// A tmp/ that somebody removed is not made again: OpenDirs does that.
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

// NewScratch is NewTemp for text that is read again, and does not become a message
// as it is: it is never compressed. It is aborted in the end.
func NewScratch(d Dirs, o *Options) (*Temp, error) { return newPlainTemp(d, o) }

// ReadAt reads text of a NewScratch.
func (t *Temp) ReadAt(p []byte, off int64) (int, error) { return t.file.ReadAt(p, off) }

// newPlainTemp is NewTemp for a file that is not compressed.
//
// It has a name from the beginning. A file without one (O_TMPFILE), which linkat puts
// into new/, takes a tenth less of the processor, but linkat changes the link count in
// its inode, and that is not on disk by an fsync of the directory where the file system
// has no journal: after a power failure ext4 holds it for deleted, and e2fsck takes
// the name away. A rename changes no link count.
func newPlainTemp(d Dirs, o *Options) (*Temp, error) {
	rights, err := d.rights()
	if err != nil {
		return nil, err
	}
	t := &Temp{dirs: d, opt: o}
	for range nameTries {
		t.name = o.UniqueName()
		if rights.UID < 0 && rights.GID < 0 {
			t.file, err = d.Tmp.Create(t.name, rights.Mode&0o666|0o600)
		} else {
			t.file, err = d.Tmp.CreateAs(t.name, rights)
		}
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return nil, err
}

// Write appends bytes as they shall stand on disk.
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

// zeros reads as octets of zero, without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// put is Write for text that is counted otherwise.
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

func (w fileWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.written += int64(n)
	return n, err
}

// unpack ends compression.
func (t *Temp) unpack() error {
	if t.pack == nil {
		return nil
	}
	pack := t.pack
	t.pack = nil
	return pack.Close()
}

// Size returns the bytes written so far, and how many octets they are with
// every line end as CRLF.
func (t *Temp) Size() (size, virtual int64) { return t.size, t.size + t.bare }

// InodeSum is that of the file's inode number, once it is finished.
func (t *Temp) InodeSum() uint32 { return t.inode }

// Finish makes the file durable in tmp/ and gives it its unique name, which is
// not yet used: Commit does that. mtime, if not zero, becomes the file's
// modification time, the message's INTERNALDATE.
func (t *Temp) Finish(mtime time.Time) (base string, err error) {
	return t.finish(mtime, false)
}

// finish is Finish; with keep the file stays open for reading until Abort.
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
		if err := t.file.Sync(); err != nil {
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

// finalName is "<sec>.M<usec>P<pid>V<dev>I<ino>.<host>,S=<size>,W=<virtual>",
// device and inode in hexadecimal. The inode makes it unique on this machine
// whatever the clock does.
func (t *Temp) finalName(dev, ino uint64) string {
	field := strconv.AppendUint(nil, dev, 16)
	field = append(field, 'I')
	field = strconv.AppendUint(field, ino, 16)
	b := []byte(t.opt.name('V', string(field)))
	b = append(b, ",S="...)
	b = strconv.AppendInt(b, t.size, 10)
	b = append(b, ",W="...)
	b = strconv.AppendInt(b, t.size+t.bare, 10)
	return string(b)
}

// nameTries bounds how often a taken name is met with a new one. Not even one is
// expected, but where servers in containers have the same number and host.
const nameTries = 5

// Commit renames the finished file to base+info in the directory to (new/ with
// info "", cur/ with info ":2,..."), never in the place of another file. The
// caller syncs the directory before it says that the message is stored. If
// the name was taken, name has another base than Finish told.
func (t *Temp) Commit(to *dirfd.Dir, info string) (name string, err error) {
	if t.base == "" {
		return "", errors.New("commit of a message that is not finished")
	}
	for range nameTries {
		name = t.base + info
		err = t.dirs.Tmp.RenameNoReplace(t.name, to, name)
		if err == nil {
			t.name = ""
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		t.base = t.opt.UniqueName() + t.base[bytes.LastIndex([]byte(t.base), []byte(",S=")):]
	}
	return "", err
}

// Abort removes the file from tmp/. After Commit it does nothing.
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
		_ = t.dirs.Tmp.Remove(t.name)
		t.name = ""
	}
	if t.err == nil {
		t.err = fs.ErrClosed
	}
}
