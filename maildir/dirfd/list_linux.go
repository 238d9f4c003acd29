package dirfd

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is the type of a directory entry as far as the file system tells it
// without a stat.
type Kind uint8

// The kinds of directory entries that callers tell apart.
const (
	KindUnknown Kind = iota // the file system does not say: Lstat tells
	KindRegular
	KindDir
	KindOther // symbolic link, FIFO, socket, device
)

// listBuffers holds the buffers of getdents: a large one means few system
// calls, and a scan of a million files needs no more than one of them.
var listBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// List calls f for each entry but "." and "..", in directory order, until f
// returns false. name is valid during the call only. While other programs
// rename files, a listing may miss an entry or give one twice.
func (d *Dir) List(f func(name []byte, kind Kind, ino uint64) bool) error {
	// A descriptor of its own: the position of a shared one would be shared
	// between concurrent listings.
	var own int
	err := d.self("list", func(fd int) error {
		n, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		own = n
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(own)
	bp := listBuffers.Get().(*[]byte)
	defer listBuffers.Put(bp)
	buf := *bp
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(own, buf) })
		if err != nil {
			return &fs.PathError{Op: "list", Path: d.path, Err: err}
		}
		if n <= 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			// struct linux_dirent64: ino, off, reclen, type, name.
			const head = int(unsafe.Offsetof(unix.Dirent{}.Name))
			size := int(binary.NativeEndian.Uint16(rest[unsafe.Offsetof(unix.Dirent{}.Reclen):]))
			ino := binary.NativeEndian.Uint64(rest)
			kind := kindOf(rest[unsafe.Offsetof(unix.Dirent{}.Type)])
			name := rest[head:size]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			rest = rest[size:]
			if string(name) == "." || string(name) == ".." {
				continue
			}
			if !f(name, kind, ino) {
				return nil
			}
		}
	}
}

func kindOf(t byte) Kind {
	switch t {
	case unix.DT_UNKNOWN:
		return KindUnknown
	case unix.DT_REG:
		return KindRegular
	case unix.DT_DIR:
		return KindDir
	}
	return KindOther
}
