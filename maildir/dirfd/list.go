package dirfd

import (
	"bytes"
	"encoding/binary"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is the type of a directory entry as far as the file system reports it without a
// stat.
type Kind uint8

// The kinds of directory entries that callers distinguish.
const (
	KindUnknown Kind = iota // the file system does not say: use Lstat
	KindRegular
	KindDir
	KindOther // symbolic link, FIFO, socket, device
)

// listBuffers holds the buffers for getdents, for a few hundred names each. Larger ones
// would not save work, but delay the point from which listing and processing the names run
// in parallel.
var listBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// List calls f for each entry except "." and "..", in directory order, until f returns
// false. name is valid only during the call. While other programs rename files, a listing
// may miss an entry or return one twice.
func (d *Dir) List(f func(name []byte, kind Kind, ino uint64) bool) error {
	own, err := d.openAgain()
	if err != nil {
		return err
	}
	defer unix.Close(own)
	bp := listBuffers.Get().(*[]byte)
	defer listBuffers.Put(bp)
	for {
		p := d.nextPiece(own, bp)
		if p.n <= 0 || !p.each(f) {
			return p.err
		}
	}
}

// Entry is an entry of a directory, as ListMany passes it on.
type Entry struct {
	Name  []byte
	Kind  Kind
	Inode uint32 // its InodeSum
}

const (
	// together is the maximum number of entries that ListMany passes to one call of f.
	together = 256
	// alone is how many buffers are filled before another goroutine takes over: waking each
	// other takes as long as a few hundred names.
	alone = 3
	// ahead is how many buffers there are from then on.
	ahead = 4
)

// ListMany is List for a directory that may be large: f gets many entries at once, while
// another goroutine reads the next ones. The entries are valid only during the call.
func (d *Dir) ListMany(f func(some []Entry)) error {
	own, err := d.openAgain()
	if err != nil {
		return err
	}
	defer unix.Close(own)
	some := make([]Entry, 0, together)
	give := func(p piece) {
		p.each(func(name []byte, kind Kind, ino uint64) bool {
			if some = append(some, Entry{name, kind, InodeSum(ino)}); len(some) == together {
				f(some)
				some = some[:0]
			}
			return true
		})
		if len(some) > 0 {
			f(some)
			some = some[:0]
		}
	}
	first := listBuffers.Get().(*[]byte)
	defer listBuffers.Put(first)
	p := d.nextPiece(own, first)
	for i := 0; p.n > 0 && (i < alone || p.n < len(*first)/2); i++ { // there may be hardly more
		give(p)
		p = d.nextPiece(own, first)
	}
	if p.n <= 0 {
		return p.err
	}
	free, full := make(chan *[]byte, ahead), make(chan piece, ahead)
	for range ahead - 1 {
		buf := listBuffers.Get().(*[]byte)
		defer listBuffers.Put(buf)
		free <- buf
	}
	go func() {
		defer close(full)
		for buf := range free {
			next := d.nextPiece(own, buf)
			full <- next
			if next.n <= 0 {
				return
			}
		}
	}()
	defer func() { // also after a panic
		close(free)
		for range full {
		}
	}()
	for p.n > 0 {
		give(p)
		free <- p.buf
		p = <-full
	}
	return p.err
}

// openAgain opens the directory with a position of its own, since concurrent listings must
// not share one.
func (d *Dir) openAgain() (own int, err error) {
	err = d.self("list", func(fd int) error {
		own, err = unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	return own, err
}

// piece is the result of one getdents call, in the kernel's format.
type piece struct {
	buf *[]byte
	n   int // 0: that was all, or see err
	err error
}

func (d *Dir) nextPiece(own int, buf *[]byte) piece {
	if d.before != nil {
		if err := d.before("list on", d.path); err != nil {
			return piece{buf, 0, d.failed("list", "", err)}
		}
	}
	if err := d.disk.Begin(); err != nil {
		return piece{buf, 0, d.failed("list", "", err)}
	}
	defer d.disk.Leave()
	n := 0
	err := retry(func() (err error) {
		n, err = unix.Getdents(own, *buf)
		return err
	})
	if err != nil {
		return piece{buf, 0, d.failed("list", "", err)}
	}
	return piece{buf, n, nil}
}

// each calls f for each entry except "." and "..", until f returns false.
func (p piece) each(f func(name []byte, kind Kind, ino uint64) bool) bool {
	for rest := (*p.buf)[:p.n]; len(rest) > 0; {
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
			return false
		}
	}
	return true
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
