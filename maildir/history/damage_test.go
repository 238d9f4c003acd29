package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// sample makes a journal with some past and returns its highest mod-sequence, and advances
// the clock: file times may still show the previous time.
func sample(t testing.TB, path string, c *clock) (m *model, highest uint64) {
	m = open(t, path, c)
	m.change(map[uint32]filename.Flags{1: 0, 2: filename.Seen, 3: filename.Keywords, 7: 1})
	m.change(map[uint32]filename.Flags{2: 0}, 3)
	highest = m.change(map[uint32]filename.Flags{9: filename.Draft}, 1, 2)
	c.t = c.t.Add(time.Millisecond)
	return m, highest
}

// TestDamage cuts the journal at each byte and flips each byte. What was written at once
// counts as lost as a whole; of what was appended, the frames before the damage count, and
// what clients may have been told later does not. Mod-sequences assigned after that are above
// all earlier ones.
func TestDamage(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	must(t, m.Rewrite(slices.Collect(maps.Values(m.state))))
	m.change(map[uint32]filename.Flags{7: 3, 9: filename.Seen})
	highest := m.change(map[uint32]filename.Flags{10: 0}, 7)
	c.t = c.t.Add(time.Millisecond)
	file := filepath.Join(path, Name)
	whole, err := os.ReadFile(file)
	must(t, err)
	// The ends of frames: a file cut there is an older state of the journal.
	var ends []int
	fr := frameReader{r: bytes.NewReader(whole[headerSize:])}
	at := headerSize
	for ends = append(ends, at); ; ends = append(ends, at) {
		if _, err := fr.next(); errors.Is(err, io.EOF) {
			break
		} else {
			must(t, err)
		}
		at += frameHead + len(fr.payload)
	}
	if at != len(whole) || len(ends) < 4 {
		t.Fatalf("frames end at %v of %d", ends, len(whole))
	}
	try := func(what string, data []byte, want Change, lost bool) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
		must(t, err)
		_, err = f.Write(data) // keeps the inode
		must(t, errors.Join(err, f.Close()))
		late := open(t, path, c)
		change := late.Refresh(validity, func(*Frame) {})
		if change != want || late.EndLost() != lost {
			t.Fatalf("%s: %v, end lost: %v; want %v, %v", what, change, late.EndLost(), want, lost)
		}
		switch {
		case change == Missing:
			late.Begin(validity, 9)
		case lost:
			must(t, late.Add(Frame{ModSeq: late.Next()}))
			if !late.WantsRewrite(0) {
				t.Fatalf("%s: is to be appended to", what)
			}
		default:
			return
		}
		if late.Next() <= highest || late.Highest() <= highest {
			t.Fatalf("%s: goes on at %d, %d was given before", what, late.Next(), highest)
		}
		if _, exact := late.GoneSince(highest); exact != bytes.HasPrefix(data, whole) {
			t.Fatalf("%s: claims to know what was removed: %v", what, exact)
		}
	}
	for n := range whole {
		base, bad := n < int(m.h.base), slices.Clone(whole)
		bad[n] ^= 0x10
		if base {
			try(fmt.Sprintf("cut at %d", n), whole[:n], Missing, false)
			try(fmt.Sprintf("flipped at %d", n), bad, Missing, false)
		} else {
			try(fmt.Sprintf("cut at %d", n), whole[:n], Replaced, !slices.Contains(ends, n))
			try(fmt.Sprintf("flipped at %d", n), bad, Replaced, true)
		}
	}
	try("with zeros behind", append(slices.Clone(whole), make([]byte, 100)...), Replaced, true)
	try("whole", whole, Replaced, false)
	m.refresh()
}

// TestCutHeader cuts off the last octet of a header that ends in a zero, as one in 256
// checksums does.
func TestCutHeader(t *testing.T) {
	path, c := t.TempDir(), newClock()
	file, err := os.Create(filepath.Join(path, Name))
	must(t, err)
	defer file.Close()
	st, err := dirfd.FileStat(file)
	must(t, err)
	h := header{inode: st.Ino, since: 1, highest: 1, run: 1, base: headerSize, validity: validity}
	for h.encode()[headerSize-1] != 0 {
		h.highest++
	}
	_, err = file.Write(h.encode()[:headerSize-1])
	must(t, err)
	if change := open(t, path, c).Refresh(validity, func(*Frame) {}); change != Missing {
		t.Errorf("%v, want %v", change, Missing)
	}
}

// TestLoss: after a journal was deleted, copied, or replaced by that of another mailbox,
// mod-sequences start above those assigned before, even in a process that has it open.
func TestLoss(t *testing.T) {
	for name, lose := range map[string]func(file string, c *clock){
		"deleted": func(file string, _ *clock) { must(t, os.Remove(file)) },
		"copied": func(file string, _ *clock) {
			data, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file+".copy", data, 0o600))
			must(t, os.Rename(file+".copy", file))
		},
		"a directory": func(file string, _ *clock) {
			must(t, os.Remove(file))
			must(t, os.Symlink("/etc/passwd", file))
		},
		"deleted, and the clock is where it began": func(file string, c *clock) {
			must(t, os.Remove(file))
			must(t, os.Chtimes(filepath.Dir(file), c.t, c.t)) // when that was
			c.t = time.Unix(1000, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, c := t.TempDir(), newClock()
			m, highest := sample(t, path, c)
			lose(filepath.Join(path, Name), c)
			late := open(t, path, c)
			change := late.Refresh(validity, func(*Frame) {})
			if change != Missing {
				t.Fatalf("a new process finds %v", change)
			}
			late.Begin(validity, 9)
			if late.Next() <= highest {
				t.Errorf("a new process goes on at %d, %d was given", late.Next(), highest)
			}
			if change := m.refresh(); change != Missing {
				t.Errorf("the old process finds %v", change)
			}
			if next := m.change(map[uint32]filename.Flags{7: 2}); next <= highest {
				t.Errorf("the old process goes on at %d, %d was given", next, highest)
			}
		})
	}
}

// TestLostAgainAndAgain: however often and quickly the journal is lost, no mod-sequence is
// assigned twice.
func TestLostAgainAndAgain(t *testing.T) {
	path, c := t.TempDir(), &clock{time.Now().Add(time.Hour)}
	var last uint64
	for range 200 {
		m := open(t, path, c)
		m.refresh()
		for range 5 {
			c.t = c.t.Add(2 * time.Microsecond)
			next := m.change(map[uint32]filename.Flags{1: filename.Flags(last)})
			if next <= last {
				t.Fatalf("%d after %d", next, last)
			}
			last = next
		}
		must(t, os.Remove(filepath.Join(path, Name)))
	}
}

func TestOtherValidity(t *testing.T) {
	path, c := t.TempDir(), newClock()
	sample(t, path, c)
	late := open(t, path, c)
	change := late.Refresh(validity+1, func(*Frame) { t.Error("a frame was given") })
	if change != Missing {
		t.Errorf("the journal of another UIDVALIDITY is %v", change)
	}
}

// TestOtherVersion: a journal in an older format counts as lost.
func TestOtherVersion(t *testing.T) {
	path, c := t.TempDir(), newClock()
	_, highest := sample(t, path, c)
	file := filepath.Join(path, Name)
	data, err := os.ReadFile(file)
	must(t, err)
	data[7] = 1
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // keeps the inode
	must(t, err)
	_, err = f.Write(data)
	must(t, errors.Join(err, f.Close()))
	late := open(t, path, c)
	if change := late.Refresh(validity, func(*Frame) { t.Error("a frame was given") }); change != Missing {
		t.Errorf("is %v", change)
	}
	late.Begin(validity, 9)
	if late.Next() <= highest {
		t.Errorf("goes on at %d, %d was given", late.Next(), highest)
	}
	if _, err := decodeHeader(data); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("the reason is %v", err)
	}
}

// FuzzRead reads any octets as a journal, both as they are and as the payload of a frame
// with a correct checksum: reading ends, the result is in order, and it is the same after
// it was written and read again.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	sample(f, dir, newClock())
	data, err := os.ReadFile(filepath.Join(dir, Name))
	must(f, err)
	f.Add(data)
	f.Add(data[headerSize:])
	f.Add(data[headerSize+frameHead:])
	f.Add(appendFrame(nil, 0, &Frame{ModSeq: maxModSeq, Changed: []State{{maxUID, ^filename.Flags(0)}}, Gone: []Run{{1, maxUID}}, Saved: []Saved{{1, 1}, {maxUID, 1<<32 - 1}}, gaps: []gap{{1, 1}, {3, maxModSeq}}, run: 1<<64 - 1}))
	f.Add([]byte{0xff, 0xff, 0x0f, 0, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFrames(t, data)
		framed := append(make([]byte, frameHead), data...)
		binary.LittleEndian.PutUint32(framed, uint32(len(data)))
		binary.LittleEndian.PutUint32(framed[4:], crc32.Checksum(data, castagnoli))
		checkFrames(t, framed)
		if h, err := decodeHeader(data); err == nil && !bytes.Equal(h.encode(), data[:headerSize]) {
			t.Fatalf("header %+v is written in another way", h)
		}
	})
}

func checkFrames(t *testing.T, data []byte) {
	fr := frameReader{r: bytes.NewReader(data)}
	var out []byte
	var before uint64
	var frames []Frame
	for {
		frame, err := fr.next()
		if err != nil {
			break
		}
		last := uint64(0)
		for _, s := range frame.Changed {
			if uint64(s.UID) <= last || s.UID > maxUID {
				t.Fatalf("UID %d after %d", s.UID, last)
			}
			last = uint64(s.UID)
		}
		last = 0
		for _, r := range frame.Gone {
			if uint64(r.First) <= last || r.Last < r.First || r.Last > maxUID {
				t.Fatalf("run %v after %d", r, last)
			}
			last = uint64(r.Last)
		}
		last = 0
		for _, s := range frame.Saved {
			if uint64(s.UID) <= last || s.UID > maxUID || s.At == 0 {
				t.Fatalf("save date %v after %d", s, last)
			}
			last = uint64(s.UID)
		}
		if frame.ModSeq < before || frame.ModSeq == 0 {
			t.Fatalf("mod-sequence %d after %d", frame.ModSeq, before)
		}
		out = appendFrame(out, before, frame)
		before = frame.ModSeq
		frames = append(frames, Frame{frame.ModSeq, slices.Clone(frame.Changed), slices.Clone(frame.Gone), slices.Clone(frame.Saved), slices.Clone(frame.Letters), slices.Clone(frame.gaps), frame.run})
	}
	again := frameReader{r: bytes.NewReader(out)}
	for _, want := range frames {
		got, err := again.next()
		if err != nil || got.ModSeq != want.ModSeq || !slices.Equal(got.Changed, want.Changed) || !slices.Equal(got.Gone, want.Gone) || !slices.Equal(got.Saved, want.Saved) || !slices.Equal(got.Letters, want.Letters) || !slices.Equal(got.gaps, want.gaps) || got.run != want.run {
			t.Fatalf("%+v is read again as %+v, %v", want, got, err)
		}
	}
}
