package history

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// TestLetters: the names of keyword letters are read back, and survive rewriting and
// recalling the journal.
func TestLetters(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	long := strings.Repeat("w", maxName)
	must(t, m.Add(Frame{ModSeq: m.Next(), Changed: []State{{7, filename.Keyword(0)}}, Letters: []Letter{{0, "one"}, {2, long}, {25, "last"}}}))
	must(t, m.Add(Frame{ModSeq: m.Next(), Changed: []State{{7, filename.Keyword(25)}}, Letters: []Letter{{0, ""}, {25, "other"}}}))
	want := Names{2: long, 25: "other"}
	check := func(what string, f *File) {
		t.Helper()
		if names, known := f.Letters(); names != want || !known {
			t.Errorf("%s: letters %v, known: %v", what, names, known)
		}
	}
	check("who wrote them", m.File)
	read := func(what string) *model {
		t.Helper()
		late := open(t, path, c)
		if change := late.Refresh(validity, func(*Frame) {}); change != Replaced {
			t.Fatalf("%s: the journal is %v", what, change)
		}
		check(what, late.File)
		return late
	}
	read("a reader")
	must(t, m.Rewrite([]Entry{{State: State{7, 0}, ModSeq: m.Highest()}}))
	read("after a rewrite")
	m.gone = nil
	must(t, m.Rewrite(nil))
	late := read("after a rewrite without messages")
	memo, ok := late.Memo()
	if !ok {
		t.Fatal("no memo")
	}
	again := open(t, path, c)
	if ok, same := again.Recall(memo, validity, true); !ok || !same {
		t.Fatalf("recalled: %v, %v", ok, same)
	}
	check("recalled", again.File)
	for n := range memo {
		if ok, _ := open(t, path, c).Recall(memo[:n], validity, true); ok {
			t.Fatalf("%d octets of %d are a memo", n, len(memo))
		}
	}
}

// TestWithoutLetters: a journal in the previous format is valid, has no letters, and is
// rewritten at the next opportunity.
func TestWithoutLetters(t *testing.T) {
	path, c := t.TempDir(), newClock()
	file, err := os.Create(filepath.Join(path, Name))
	must(t, err)
	defer file.Close()
	st, err := dirfd.FileStat(file)
	must(t, err)
	head := (&header{inode: st.Ino, since: 5, highest: 5, validity: validity}).encode()
	head[7] = unlettered
	binary.LittleEndian.PutUint32(head[headerSize-4:], crc32.Checksum(head[:headerSize-4], castagnoli))
	frame := appendFrame(nil, 0, &Frame{ModSeq: 9, Changed: []State{{7, 1}}})
	payload := frame[frameHead : len(frame)-1] // the last octet is that there are no letters
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(payload, castagnoli))
	_, err = file.Write(append(head, frame[:len(frame)-1]...))
	must(t, err)
	m := open(t, path, c)
	if change := m.refresh(); change != Replaced || m.Highest() != 9 || m.state[7].Flags != 1 {
		t.Fatalf("%v, highest %d, %v", change, m.Highest(), m.state)
	}
	if _, known := m.Letters(); known || !m.WantsRewrite(1) {
		t.Error("it tells of letters, or stays as it is")
	}
	if _, ok := m.Memo(); ok {
		t.Error("it gives a memo")
	}
	m.tidy()
	late := open(t, path, c)
	late.refresh()
	late.same(m)
	if _, known := late.Letters(); !known {
		t.Error("the new one does not tell of letters")
	}
}
