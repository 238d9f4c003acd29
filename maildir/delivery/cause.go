package delivery

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"maildird/maildir/maildirsize"
)

// Cause is why a message could not be stored, as far as protocols distinguish it. Every
// cause except TooBig is temporary: somebody can fix it, and the same message can be stored
// then.
type Cause int

// The possible causes.
const (
	Trouble   Cause = iota // anything else: a bad disk, denied access, no descriptors, a read-only file system
	NoSpace                // the file system has no space or no inodes left
	OverQuota              // the user's quota is used up
	TooBig                 // the message is larger than the user's whole quota
)

// ErrReserve means that the free space is below the reserve.
var ErrReserve = errors.New("free space is below the reserve")

// Reserved returns ErrReserve if a file of size bytes in the folder would leave less than
// reserve bytes of its file system free. With a reserve of 0 it checks nothing.
func (d Dirs) Reserved(reserve uint64, size int64) error {
	if reserve == 0 {
		return nil
	}
	free, err := d.Folder.FreeBytes()
	if err != nil || free >= reserve+uint64(max(size, 0)) {
		return nil // if it is unknown, the attempt will show
	}
	return fmt.Errorf("%w: %s has %d bytes free, the reserve is %d bytes, and the message has %d", ErrReserve, d.Folder.Path(), free, reserve, size)
}

// CauseOf returns the cause of an error of this package.
func CauseOf(err error) Cause {
	switch {
	case errors.Is(err, maildirsize.ErrNever):
		return TooBig
	case errors.Is(err, unix.EDQUOT), errors.Is(err, maildirsize.ErrOver):
		return OverQuota
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG), errors.Is(err, ErrReserve):
		return NoSpace
	}
	return Trouble
}
