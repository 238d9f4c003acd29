package cache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWhatWasAddedIsThereInTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 1000)
	if n := sh.count(); n != 0 {
		t.Fatalf("an empty cache has %d messages", n)
	}
	sh.fill(upTo(1000)...)
	if n := sh.count(); n != 1000 {
		t.Fatalf("%d messages are there, not 1000", n)
	}
	sh.b.Close()
	next := openShelf(t, newStore(t, Options{Dir: dir}), 1000)
	if n := next.count(); n != 1000 {
		t.Fatalf("%d messages are there in the next process, not 1000", n)
	}
}

func TestRecordOfAnotherMessageIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 3)
	sh.fill(0, 1, 2)

	other := openShelf(t, newStore(t, Options{Dir: dir}), 3)
	other.b = other.s.NewBox()
	other.bases[1] = "another"
	other.open()
	for row, want := range []bool{true, false, true} {
		_, ok := other.read(uint32(row))
		_, dated := other.b.Date(uint32(row))
		if ok != want || dated != want {
			t.Errorf("row %d: record %v, date %v, want %v", row, ok, dated, want)
		}
	}

	renumbered := openShelf(t, newStore(t, Options{Dir: dir}), 3)
	renumbered.b = renumbered.s.NewBox()
	renumbered.id.UIDValidity++
	renumbered.open()
	if n := renumbered.count(); n != 0 {
		t.Errorf("%d messages are there under another UIDVALIDITY", n)
	}
	renumbered.fill(0, 1)
	if n := renumbered.count(); n != 2 {
		t.Errorf("%d messages are there, not 2", n)
	}
}

func TestDateAloneIsKept(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 2)
	when := sample(0).Mtime
	sh.add(0, Record{Size: -1, Mtime: when, Virtual: -1})
	sh.add(1, sample(1))
	sh.add(1, Record{Size: -1, Mtime: sample(1).Mtime, Virtual: -1})
	sh.b.Flush()
	next := openShelf(t, newStore(t, Options{Dir: dir}), 2)
	if d, ok := next.b.Date(0); !ok || !d.Equal(when) {
		t.Errorf("the date is %v, %v", d, ok)
	}
	if _, ok := next.b.Size(0); ok {
		t.Error("a size is known that nobody gave")
	}
	if !next.check(1) {
		t.Error("a date alone made a record disappear")
	}
}

// TestOutdatedIsForgottenInTheNextProcess: what the files have of a replaced text does not
// come back, whether they were open when it was replaced or not, and what is added after
// that is kept.
func TestOutdatedIsForgottenInTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 4)
	sh.fill(0, 1, 2, 3)
	sh.b.Outdate(0, sh.key(0))
	sh.b.Outdate(1, sh.key(1))
	changed := sample(1)
	changed.Mtime = changed.Mtime.Add(time.Second)
	sh.add(1, changed)
	sh.b.Flush()
	if got, ok := sh.read(1); !ok || !sameRecord(&got, &changed) {
		t.Error("what was added anew is not there")
	}
	sh.b.Close()

	next := openShelf(t, newStore(t, Options{Dir: dir}), 4)
	next.b = next.s.NewBox()
	next.b.Outdate(2, next.key(2)) // before the files are read
	if !next.b.Unwritten() {
		t.Error("the files are told before they are open")
	}
	next.open()
	if next.b.Unwritten() {
		t.Error("the files are not told")
	}
	next.b.Close()

	last := openShelf(t, newStore(t, Options{Dir: dir}), 4)
	for row, want := range []bool{false, true, false, true} {
		_, ok := last.read(uint32(row))
		_, dated := last.b.Date(uint32(row))
		if ok != want || dated != want {
			t.Errorf("row %d: record %v, date %v, want %v", row, ok, dated, want)
		}
	}
	if got, _ := last.read(1); !sameRecord(&got, &changed) {
		t.Error("what was added anew is another record")
	}
}

func TestForgottenMessageIsAddedAnew(t *testing.T) {
	sh := openShelf(t, newStore(t, Options{Dir: t.TempDir()}), 1)
	sh.fill(0)
	sh.b.Forget(0)
	if _, ok := sh.read(0); ok {
		t.Fatal("what was forgotten is there")
	}
	changed := sample(0)
	changed.Mtime = changed.Mtime.Add(time.Second)
	sh.add(0, changed)
	sh.b.Flush()
	if got, ok := sh.read(0); !ok || !sameRecord(&got, &changed) {
		t.Errorf("there is %+v, %v", got, ok)
	}
}

// TestForgettingIsCounted: a caller that derived something from cached data learns when it
// may be wrong, and only then.
func TestForgettingIsCounted(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, Options{Dir: dir})
	sh := openShelf(t, s, 3)
	expect := func(want uint64, when string) {
		t.Helper()
		if got := sh.b.Forgotten(); got != want {
			t.Errorf("%s: %d were forgotten, want %d", when, got, want)
		}
	}
	sh.fill(0, 1)
	sh.fill(0, 1)
	sh.b.Forget(2)
	sh.b.SetSize(1, 5, Source{})
	expect(0, "nothing was forgotten")
	sh.b.Forget(0)
	sh.b.Forget(0)
	expect(1, "one was dropped")
	changed := sample(1)
	changed.Mtime = changed.Mtime.Add(time.Second)
	sh.add(1, changed)
	sh.b.Flush()
	expect(2, "another text came up")
	other := openShelf(t, newStore(t, Options{Dir: dir}), 3)
	changed.Mtime = changed.Mtime.Add(time.Second)
	other.add(1, changed)
	other.b.Flush()
	sh.open()
	expect(3, "another process met another text")
}

func TestTooMuchOfOneKindIsNotKept(t *testing.T) {
	sh := openShelf(t, newStore(t, Options{Dir: t.TempDir()}), 1)
	r := sample(0)
	r.Set(Header, make([]byte, maxPiece))
	r.Set(Preview, make([]byte, maxPiece+1))
	sh.add(0, r)
	sh.b.Flush()
	got, ok := sh.read(0)
	if h, has := got.Get(Header); !ok || !has || len(h) != maxPiece {
		t.Errorf("the header has %d octets, %v", len(h), ok)
	}
	if p, _ := got.Get(Preview); len(p) > maxPiece {
		t.Errorf("%d octets were kept", len(p))
	}
}

// TestDamage flips every byte of both files in turn, and truncates them at many lengths.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 2)
	sh.fill(0, 1)
	sh.b.Close()
	for _, suffix := range []string{indexSuffix, dataSuffix} {
		path := filepath.Join(dir, "messages", inbox.name()+suffix)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		attempt := func(damaged []byte, least int) {
			t.Helper()
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			s := New(Options{Dir: dir})
			defer s.Close()
			sh := openShelf(t, s, 2)
			if n := sh.count(); n < least { // fails on a wrong record
				t.Fatalf("%d messages are left", n)
			}
			sh.b.Close()
		}
		for i := range whole {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << (i % 8)
			least := 1
			if i < fileHead {
				least = 0
			}
			attempt(damaged, least)
			if i%5 == 0 {
				attempt(whole[:i], 0)
			}
		}
		attempt(slices.Concat(whole, make([]byte, 3*entrySize)), 2)
		attempt(slices.Concat(whole, whole), 2)
		attempt(whole, 2)
	}
}

// TestDamagedFilesAreMadeAnew adds to files that are damaged in various ways.
func TestDamagedFilesAreMadeAnew(t *testing.T) {
	for _, suffix := range []string{indexSuffix, dataSuffix} {
		for _, length := range []int64{-1, 0, 10, fileHead, fileHead + 10, fileHead + 70} {
			dir := t.TempDir()
			sh := openShelf(t, newStore(t, Options{Dir: dir}), 4)
			sh.fill(0, 1)
			sh.b.Close()
			path := filepath.Join(dir, "messages", inbox.name()+suffix)
			err := os.Truncate(path, length)
			if length < 0 {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			next := openShelf(t, newStore(t, Options{Dir: dir}), 4)
			next.count()
			next.fill(0, 1, 2, 3)
			next.b.Close()
			last := openShelf(t, newStore(t, Options{Dir: dir}), 4)
			if n := last.count(); n != 4 {
				t.Errorf("%s cut to %d: %d messages are there, not 4", suffix, length, n)
			}
		}
	}
}

func TestDirectoryIsDeletedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	sh := openShelf(t, newStore(t, Options{Dir: dir}), 4)
	sh.fill(0, 1)
	if err := os.RemoveAll(filepath.Join(dir, "messages")); err != nil {
		t.Fatal(err)
	}
	sh.count()
	sh.fill(2) // finds out
	sh.fill(0, 1, 2, 3)
	if n := sh.count(); n != 4 {
		t.Errorf("%d messages are there, not 4", n)
	}
	next := openShelf(t, newStore(t, Options{Dir: dir}), 4)
	if n := next.count(); n != 4 {
		t.Errorf("%d messages are there in the next process, not 4", n)
	}
}

func TestUnusableDirectoryIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log, said := logBuffer()
	s := newStore(t, Options{Dir: file, Log: log})
	for range 3 {
		sh := openShelf(t, s, 2)
		sh.fill(0, 1)
		if n := sh.count(); n != 0 {
			t.Errorf("%d messages are kept nowhere", n)
		}
		if n, ok := sh.b.Size(0); !ok || n != sample(0).Virtual {
			t.Errorf("the size is %d, %v", n, ok)
		}
		sh.b.Close()
	}
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, said)
	}
}

func TestWithoutDirectorySizesAndDatesAreKnown(t *testing.T) {
	sh := openShelf(t, newStore(t, Options{}), 2)
	sh.fill(0)
	if _, ok := sh.read(0); ok || sh.b.Keeps() {
		t.Error("a record is kept nowhere")
	}
	if d, ok := sh.b.Date(0); !ok || !d.Equal(sample(0).Mtime) {
		t.Errorf("the date is %v, %v", d, ok)
	}
	sh.b.Outdate(0, sh.key(0))
	if _, ok := sh.b.Date(0); ok {
		t.Error("the date of a text that was replaced is known")
	}
}

// TestFilesOfOneMailboxAreBounded: they take half of the space for all mailboxes at most.
func TestFilesOfOneMailboxAreBounded(t *testing.T) {
	sh := openShelf(t, newStore(t, Options{Dir: t.TempDir(), MaxBytes: 1 << 20}), 3000)
	for rows := range slices.Chunk(upTo(3000), 100) {
		sh.fill(rows...)
		if n, err := size(sh.b.files.data); err != nil || n > 1<<19 {
			t.Fatalf("the file has %d bytes, %v", n, err)
		}
	}
	if n := sh.count(); n < 300 {
		t.Errorf("%d messages are there", n)
	}
}

func TestFilesAreMadeSmallerWhenMostIsGone(t *testing.T) {
	dir := t.TempDir()
	const rows = 6000
	s := New(Options{Dir: dir})
	sh := openShelf(t, s, rows)
	sh.fill(upTo(rows)...)
	for row := range uint32(rows) {
		if row%10 != 0 {
			sh.b.Forget(row)
		}
	}
	path := filepath.Join(dir, "messages", inbox.name()+dataSuffix)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	sh.b.Close()
	s.jobs.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() > before.Size()/5 {
		t.Errorf("%d bytes of %d are left", after.Size(), before.Size())
	}
	next := openShelf(t, newStore(t, Options{Dir: dir}), rows)
	if n := next.count(); n != rows/10 {
		t.Errorf("%d messages are there, not %d", n, rows/10)
	}
	left, err := filepath.Glob(filepath.Join(dir, "messages", "*"+tempSuffix))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestLongestUnusedFilesGoFirst(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
	var boxes []ID
	for i := range 8 {
		sh := openShelf(t, s, 700)
		sh.b = s.NewBox()
		sh.id.GUID = strings.Repeat(string(rune('a'+i)), 32)
		sh.open()
		sh.fill(upTo(700)...)
		sh.b.Close()
		boxes = append(boxes, sh.id)
		old := time.Now().Add(time.Duration(i-100) * time.Hour)
		for _, suffix := range []string{indexSuffix, dataSuffix} {
			_ = os.Chtimes(filepath.Join(s.dir, sh.id.name()+suffix), old, old)
		}
	}
	used := openShelf(t, s, 700)
	used.b = s.NewBox()
	used.id = boxes[1]
	used.open()
	used.b.Close()
	s.jobs.Wait()
	s.max = 1 << 20
	s.evict()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 1<<20 || total == 0 {
		t.Errorf("%d bytes are left", total)
	}
	for _, i := range []int{1, 7} { // 1 was used again
		if _, err := os.Stat(filepath.Join(s.dir, boxes[i].name()+indexSuffix)); err != nil {
			t.Errorf("the last one is gone: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, boxes[0].name()+indexSuffix)); !os.IsNotExist(err) {
		t.Errorf("the first one is there: %v", err)
	}
}

// TestOutdatedUnwritten: a text that is outdated before it was written does not come back
// when it is.
func TestOutdatedUnwritten(t *testing.T) {
	sh := openShelf(t, newStore(t, Options{Dir: t.TempDir()}), 3)
	sh.fill(0)
	sh.add(1, sample(1))
	sh.b.Outdate(1, sh.key(1))
	sh.b.Flush()
	if _, ok := sh.read(1); ok || sh.b.Kinds(1) != 0 {
		t.Error("the text is there")
	}
	if !sh.check(0) {
		t.Error("another one is not")
	}
}

// TestOutdatedAnyway: nobody reads what is outdated, also if that cannot be recorded because
// the files may not grow, cannot be written, or are being written by another process until
// the end.
func TestOutdatedAnyway(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, sh *shelf)
		kept  int
	}{
		"no room": {func(t *testing.T, sh *shelf) {
			entries, err := os.ReadDir(sh.s.dir)
			if err != nil {
				t.Fatal(err)
			}
			sh.s.max = 1 << 10 // with that much to spare, evict removes nothing
			for _, e := range entries {
				info, err := e.Info()
				if err != nil {
					t.Fatal(err)
				}
				sh.s.max += info.Size()
			}
		}, 9},
		"no writing": {func(t *testing.T, sh *shelf) {
			index, err := os.Open(filepath.Join(sh.s.dir, sh.b.files.name+indexSuffix))
			if err != nil {
				t.Fatal(err)
			}
			_ = sh.b.files.index.Close()
			sh.b.files.index = index
		}, 0},
		"another process": {func(t *testing.T, sh *shelf) {
			p, err := sh.s.openPair(sh.id)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.close)
			if ok, err := lock(p.index); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sh := openShelf(t, newStore(t, Options{Dir: dir}), 10)
			sh.fill(upTo(10)...)
			sh.s.jobs.Wait()
			c.spoil(t, sh)
			sh.b.Outdate(3, sh.key(3))
			sh.b.Flush()
			if _, ok := sh.read(3); ok {
				t.Error("it is still read")
			}
			if _, err := os.Stat(filepath.Join(sh.s.dir, sh.id.name()+indexSuffix)); name == "no writing" && !os.IsNotExist(err) {
				t.Errorf("it is read after a crash: %v", err)
			}
			sh.b.Close()
			next := openShelf(t, newStore(t, Options{Dir: dir}), 10)
			if next.check(3) {
				t.Error("it is read later")
			}
			if n := next.count(); n != c.kept {
				t.Errorf("%d messages are there, not %d", n, c.kept)
			}
		})
	}
}
