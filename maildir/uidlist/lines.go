package uidlist

import (
	"errors"
	"io"
	"strings"
)

const blockSize = 128 << 10

// lines reads a file line by line, many lines per read. The lines of a block share the
// block's memory.
type lines struct {
	r    io.ReaderAt
	size int64 // nothing beyond it is read
	buf  []byte
	text string // of the block, not returned yet
	next int64  // offset of the next read
	end  int64  // offset after the last line that was returned
	long bool   // in the middle of an overlong line
	err  error
}

func newLines(r io.ReaderAt, from, size int64) *lines {
	return &lines{r: r, size: size, next: from, end: from}
}

// line returns the next complete line, "" if it is too long. ok is false at the end, where
// an unfinished line may be left in l.text.
func (l *lines) line() (line string, ok bool) {
	for {
		if i := strings.IndexByte(l.text, '\n'); i >= 0 {
			line, l.text = l.text[:i], l.text[i+1:]
			l.end = l.next - int64(len(l.text))
			if l.long || len(line) > maxLine {
				l.long, line = false, ""
			}
			return line, true
		}
		if len(l.text) > maxLine {
			l.long, l.text = true, ""
		}
		if !l.fill() {
			return "", false
		}
	}
}

func (l *lines) fill() bool {
	left := l.size - l.next
	if left <= 0 || l.err != nil {
		return false
	}
	if l.buf == nil {
		l.buf = make([]byte, min(blockSize, int(min(left, blockSize))))
	}
	kept := copy(l.buf, l.text)
	if kept == len(l.buf) { // a small first buffer without a line end
		l.buf = append(l.buf, make([]byte, blockSize)...)
	}
	n, err := l.r.ReadAt(l.buf[kept:kept+int(min(left, int64(len(l.buf)-kept)))], l.next)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	l.next += int64(n)
	l.text = string(l.buf[:kept+n])
	return n > 0
}
