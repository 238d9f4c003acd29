package delivery

import (
	"errors"

	"golang.org/x/sys/unix"

	"maildird/maildir/maildirsize"
)

// Cause is why a message could not be stored, as far as a protocol tells it
// apart. Every cause is temporary: the operator can mend it, and the same
// message can be stored then.
type Cause int

// The causes.
const (
	Trouble   Cause = iota // no other of these: a bad disk, denied access, no descriptors, a read-only file system
	NoSpace                // the file system has no space or no inodes left
	OverQuota              // the user's quota is used up
)

// CauseOf tells the cause of an error of this package.
func CauseOf(err error) Cause {
	switch {
	case errors.Is(err, unix.EDQUOT), errors.Is(err, maildirsize.ErrOver):
		return OverQuota
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG):
		return NoSpace
	}
	return Trouble
}
