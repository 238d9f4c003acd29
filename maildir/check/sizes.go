package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"maildird/maildir/compress"
	"maildird/maildir/dirfd"
	"maildird/maildir/dupes"
	"maildird/maildir/filename"
)

// longestText is how many bytes of a compressed message's text are measured.
const longestText = 256 << 20

// sizes checks "S=" and "W=" in a message's name. Dovecot refuses to show a message if S is
// wrong, and trusts W.
func (c *checker) sizes(ctx context.Context, f file) error {
	base := filename.Base(f.name)
	size, virtual := filename.Sizes(base)
	if size < 0 && virtual < 0 || size == f.st.Size && virtual < 0 {
		return nil
	}
	in, err := f.dir.Open(f.name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, dirfd.ErrNotRegular) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		f.a.add(f.label(), "this process may not read it, so its sizes were not checked", nil)
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	isSize, isVirtual, err := measure(ctx, in, f.st.Size)
	switch {
	case errors.Is(err, compress.ErrDamaged), errors.Is(err, compress.ErrTooBig):
		f.a.add(f.label(), "it is compressed and cannot be read to the end: "+err.Error(), nil)
		return nil
	case err != nil:
		return err
	}
	var wrong []string
	if size >= 0 && size != isSize {
		wrong = append(wrong, fmt.Sprintf("its name says %d bytes but it has %d: it was cut off or changed, and Dovecot refuses to show it", size, isSize))
	}
	if virtual >= 0 && virtual != isVirtual {
		wrong = append(wrong, fmt.Sprintf("its name says %d octets with CRLF but it has %d: clients are told a wrong size", virtual, isVirtual))
	}
	if len(wrong) > 0 {
		f.a.add(f.label(), strings.Join(wrong, "; "), c.unlessWritten(f, c.rename(f, func() string { return withSizes(f.name, isSize, isVirtual) })))
	}
	return nil
}

// writeGrace is how long a file is left alone after it was written to: a program that copies it
// here in place, as cp does, may not have finished.
const writeGrace = 30 * time.Second

// unlessWritten returns a repair of a file's sizes, unless it has been written to since it was
// measured, or may still be.
func (c *checker) unlessWritten(f file, repair func() (string, error)) func() (string, error) {
	return func() (string, error) {
		st, same, err := dupes.File{Part: f.part, Name: f.name, Stat: f.st}.Unchanged(f.a.dir)
		switch {
		case err != nil || !same:
			return "", cmp.Or(err, fs.ErrNotExist)
		case c.opt.Now().Sub(st.Mtime) < writeGrace:
			return "", errors.New("it was written to just before, and may not be complete yet; check it again in a minute")
		}
		return repair()
	}
}

// measure returns the size of a message's text, and its size with CRLF line ends.
func measure(ctx context.Context, in *dirfd.File, size int64) (plain, virtual int64, err error) {
	text, err := compress.Open(in, size, longestText, nil)
	if err != nil {
		return 0, 0, err
	}
	if text != nil {
		defer text.Close()
		bare, err := bareLFs(ctx, io.NewSectionReader(text, 0, text.Size))
		return text.Size, text.Size + bare, err
	}
	bare := int64(0)
	for at := int64(0); at < size; {
		begin, end, ok := dirfd.DataAt(in, at, size)
		if !ok {
			break // the rest is a hole, which consists of NULs
		}
		n, err := bareLFs(ctx, io.NewSectionReader(in, begin, end-begin))
		if err != nil {
			return 0, 0, err
		}
		bare += n
		at = end
	}
	return size, size + bare, nil
}

// bareLFs counts the LFs without a CR before them.
func bareLFs(ctx context.Context, r io.Reader) (int64, error) {
	buf := make([]byte, 64<<10)
	var bare int64
	endCR := false
	for {
		n, err := r.Read(buf)
		if p := buf[:n]; n > 0 {
			bare += int64(bytes.Count(p, []byte("\n")) - bytes.Count(p, []byte("\r\n")))
			if endCR && p[0] == '\n' {
				bare--
			}
			endCR = p[n-1] == '\r'
		}
		if err == io.EOF {
			return bare, nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
	}
}

// withSizes returns a name with the correct "S=" and "W=". Its base is different, so that
// the message gets a new UID, since clients may have the old text or size.
func withSizes(name string, size, virtual int64) string {
	base := filename.Base(name)
	fields := strings.Split(base, ",")
	kept := fields[:1]
	for _, f := range fields[1:] {
		if !strings.HasPrefix(f, "S=") && !strings.HasPrefix(f, "W=") {
			kept = append(kept, f)
		}
	}
	return fmt.Sprintf("%s,S=%d,W=%d%s", strings.Join(kept, ","), size, virtual, name[len(base):])
}
