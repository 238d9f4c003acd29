package history

import (
	"os"

	"golang.org/x/sys/unix"
)

// dataSync makes the file's content durable, and its length.
func dataSync(file *os.File) error {
	for {
		err := unix.Fdatasync(int(file.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
