//go:build 386 || arm

package intercept

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	sysFchown    = unix.SYS_FCHOWN32
	sysFstat     = unix.SYS_FSTAT64
	sysFstatat   = unix.SYS_FSTATAT64
	sysFtruncate = unix.SYS_FTRUNCATE64
	sysLseek     = unix.SYS__LLSEEK
)

// offset returns the offset of a pwrite. It takes two arguments, on ARM beginning with an even
// one (syscall(2)).
func (c *Call) offset() int64 {
	low := 3
	if runtime.GOARCH == "arm" {
		low = 4
	}
	return int64(c.args[low] | c.args[low+1]<<32)
}
