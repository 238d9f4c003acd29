//go:build !linux

package history

import "os"

func dataSync(file *os.File) error { return file.Sync() }
