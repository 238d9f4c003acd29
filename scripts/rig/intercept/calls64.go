//go:build !386 && !arm

package intercept

import "golang.org/x/sys/unix"

// Calls whose numbers have other names on 32-bit machines.
const (
	sysFchown    = unix.SYS_FCHOWN
	sysFstat     = unix.SYS_FSTAT
	sysFstatat   = unix.SYS_NEWFSTATAT
	sysFtruncate = unix.SYS_FTRUNCATE
	sysLseek     = unix.SYS_LSEEK
)

// offset returns the offset of a pwrite.
func (c *Call) offset() int64 { return int64(c.args[3]) }
