package compress

import (
	"errors"
	"sync/atomic"
)

// ScratchLimit is what the temporary files of one account's open messages may
// take together, in bytes: two texts of Limit.
const ScratchLimit = 2 * Limit

// ErrScratch says that the long compressed messages that are open take all the
// room that temporary files may have. It is there again when one is closed.
var ErrScratch = errors.New("too many long compressed messages are open at once")

// Scratch bounds temporary files: a message of a few kilobytes can claim a
// gigabyte, and each session can open one. A nil Scratch has no bound. Safe for
// concurrent use.
type Scratch struct {
	limit int64
	used  atomic.Int64
}

// NewScratch bounds temporary files to limit bytes.
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
