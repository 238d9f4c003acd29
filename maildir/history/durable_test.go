package history

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// highestIn reads a journal up to its end, and returns the highest mod-sequence in it.
func highestIn(t *testing.T, b []byte) uint64 {
	t.Helper()
	h, err := decodeHeader(b)
	must(t, err)
	fr := frameReader{r: bytes.NewReader(b[headerSize:]), lettered: h.lettered}
	highest := h.highest
	for {
		frame, err := fr.next()
		if errors.Is(err, io.EOF) {
			return highest
		}
		must(t, err)
		highest = max(highest, frame.ModSeq)
	}
}

// TestDurable does what mailboxes do to a journal, in any order, with faults and with
// another process, and sees to it that what is said to be on disk was synced.
func TestDurable(t *testing.T) {
	for seed := range uint64(200) {
		durableRun(t, rand.New(rand.NewPCG(seed, 1)), newClock())
	}
}

func durableRun(t *testing.T, rng *rand.Rand, c *clock) {
	path := t.TempDir()
	dir, err := dirfd.Open(path)
	must(t, err)
	defer dir.Close()
	synced, fails := uint64(0), false // the highest mod-sequence on disk
	opt := Options{Fsync: true, Log: slog.New(slog.DiscardHandler), Now: c.now, DataSync: func(f *os.File) error {
		if fails {
			return errors.New("no disk")
		}
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		must(t, err)
		synced = max(synced, highestIn(t, b))
		return nil
	}}
	f, other := New(dir, opt), New(dir, Options{Fsync: true, Log: opt.Log, Now: c.now})
	step := func(f *File) {
		change := f.Refresh(validity, func(*Frame) {})
		if change == Missing {
			f.Begin(validity, 0)
		}
		if rng.IntN(4) > 0 {
			_ = f.Add(Frame{ModSeq: f.Next(), Changed: []State{{UID: 1 + rng.Uint32N(9), Flags: filename.Flags(rng.IntN(4))}}})
		}
		if f.WantsRewrite(3) || rng.IntN(8) == 0 {
			_ = f.Rewrite([]Entry{{State: State{UID: 1}, ModSeq: f.Highest()}})
		}
	}
	for range 40 {
		c.t = c.t.Add(1 << rng.IntN(40)) // up to 18 minutes, as a rule much less
		switch rng.IntN(8) {
		case 0:
			step(other)
		case 1: // another process, which syncs
			step(other)
			if other.Sync() == nil && other.Err() == nil {
				synced = max(synced, other.Highest())
			}
		case 2:
			fails = true
			_ = f.Sync()
			fails = false
		case 3:
			_ = f.Sync()
		case 4:
			if memo, ok := f.Memo(); ok {
				f = New(dir, opt)
				f.Recall(memo, validity, true)
			}
		case 5: // nothing can be appended for a time
			from := dir
			if !f.begun {
				continue
			}
			if err := from.Rename(Name, from, Name+".away"); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			_ = f.Add(Frame{ModSeq: f.Next(), Changed: []State{{UID: 5}}})
			must(t, from.Rename(Name+".away", from, Name))
		default:
			step(f)
		}
		durable, wait := f.Durable()
		if f.begun && f.Err() == nil && !f.rewrite && durable > synced && f.inode != 0 {
			t.Fatalf("%d is said to be on disk, %d is (wait: %t)", durable, synced, wait)
		}
		if wait && durable > synced {
			t.Fatalf("%d is said to be on disk while more waits for it, %d is", durable, synced)
		}
		if wait && durable > f.Highest() {
			t.Fatalf("%d is said to be on disk, %d is the highest", durable, f.Highest())
		}
	}
}
