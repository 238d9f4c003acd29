package dirfd

import (
	"io"
	"io/fs"
	"os"
)

// File is an open regular file. Reading, writing and syncing it wait for a place, as all calls on
// a Dir do; reading fails with ErrNoAnswer if the disk does not respond.
type File struct {
	*os.File
	disk *Places
}

func (f *File) begin(call func() (int, error)) (int, error) {
	if err := f.disk.Begin(); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	defer f.disk.Leave()
	return call()
}

func (f *File) finish(call func() (int, error)) (int, error) {
	f.disk.Finish()
	defer f.disk.Leave()
	return call()
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	return f.begin(func() (int, error) { return f.File.Read(p) })
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return f.begin(func() (int, error) { return f.File.ReadAt(p, off) })
}

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	return f.finish(func() (int, error) { return f.File.Write(p) })
}

// WriteAt implements io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.finish(func() (int, error) { return f.File.WriteAt(p, off) })
}

// WriteString implements io.StringWriter.
func (f *File) WriteString(s string) (int, error) {
	return f.finish(func() (int, error) { return f.File.WriteString(s) })
}

// ReadFrom implements io.ReaderFrom.
func (f *File) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{f}, r) }

// WriteTo implements io.WriterTo.
func (f *File) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{f}) }
