package delivery

import (
	"sync"
	"sync/atomic"
)

const (
	// spoolMemory is how many bytes of a message are held in memory. A message that is not
	// longer is written at once when it is complete.
	spoolMemory = 64 << 10
	spoolFirst  = 8 << 10 // initial size, enough for most messages
	// mostWhole is how many messages at a time may have that much memory; others are written
	// in pieces of the initial size. Senders who stop in the middle must not use up the memory.
	mostWhole = 1024
)

// The buffers for messages are reused: otherwise they would be most of the garbage that a
// delivery produces. The pools can be global, since they hold no state: how much of a
// buffer belongs to a message is determined by buf's length, and the runtime may free a
// pool's memory at any time.
var firstMemory, wholeMemory = memoryOf(spoolFirst), memoryOf(spoolMemory)

func memoryOf(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

// memory holds a piece of a message in a buffer of spoolFirst bytes or, once that is full,
// of spoolMemory bytes. It must be used by one goroutine at a time.
type memory struct {
	buf    []byte        // the piece; the rest of its capacity is free
	mem    *[]byte       // what buf is in; nil once it was given back
	pool   *sync.Pool    // where mem came from
	wholes *atomic.Int64 // number of memories with spoolMemory bytes
}

// newMemory returns a memory with the given contents.
func newMemory(wholes *atomic.Int64, contents []byte) memory {
	b := memory{wholes: wholes}
	b.move(firstMemory, contents)
	return b
}

// grow takes a larger buffer, if there is one.
func (b *memory) grow() bool {
	if cap(b.buf) >= spoolMemory {
		return false
	}
	if b.wholes.Add(1) > mostWhole {
		b.wholes.Add(-1)
		return false
	}
	b.move(wholeMemory, b.buf)
	return true
}

// move moves contents to a buffer from the pool, and gives back the previous buffer.
func (b *memory) move(pool *sync.Pool, contents []byte) {
	mem := pool.Get().(*[]byte)
	buf := append((*mem)[:0], contents...)
	b.giveBack()
	b.buf, b.mem, b.pool = buf, mem, pool
}

// giveBack ends the use of the buffer. It may be called again.
func (b *memory) giveBack() {
	if b.mem != nil {
		b.pool.Put(b.mem)
	}
	if b.pool == wholeMemory {
		b.wholes.Add(-1)
	}
	b.buf, b.mem, b.pool = nil, nil, nil
}
