package compress

import (
	"errors"
	"sync/atomic"
)

// ScratchLimit is the maximum total size in bytes of the temporary files of one account's
// open messages: two texts of Limit.
const ScratchLimit = 2 * Limit

// ErrScratch means that the long compressed messages that are open use all the space
// allowed for temporary files. Closing one makes room again.
var ErrScratch = errors.New("too many long compressed messages are open at once")

// Scratch limits temporary files: a message of a few kilobytes can expand to a gigabyte,
// and each session can open one. A nil Scratch has no limit. It is safe for concurrent use.
type Scratch struct {
	limit int64
	used  atomic.Int64
}

// NewScratch returns a Scratch that limits temporary files to a total of limit bytes.
func NewScratch(limit int64) *Scratch { return &Scratch{limit: limit} }

func (s *Scratch) take(n int64) error {
	if s == nil {
		return nil
	}
	if s.used.Add(n) > s.limit {
		s.used.Add(-n)
		return ErrScratch
	}
	return nil
}

func (s *Scratch) give(n int64) {
	if s != nil {
		s.used.Add(-n)
	}
}
