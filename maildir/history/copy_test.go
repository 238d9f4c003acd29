package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

// TestOldCopy: a backup of the journal is rejected when it is restored, whether over the
// present one or as a file that got the same inode number.
func TestOldCopy(t *testing.T) {
	for name, putBack := range map[string]func(t *testing.T, file string, old []byte, date time.Time){
		"over the present one": func(t *testing.T, file string, old []byte, date time.Time) {
			must(t, os.WriteFile(file, old, 0o600))
			must(t, os.Chtimes(file, date, date))
		},
		"with the same inode": func(t *testing.T, file string, old []byte, date time.Time) {
			must(t, os.Remove(file))
			f, err := os.Create(file)
			must(t, err)
			defer f.Close()
			st, err := dirfd.FileStat(f)
			must(t, err)
			h, err := decodeHeader(old)
			must(t, err)
			if dirfd.Birth(f) == 0 {
				t.Skip("the file system does not tell when files were made")
			}
			h.inode = st.Ino // rather than wait for it to happen by chance
			h.birth -= int64(time.Hour)
			_, err = f.Write(append(h.encode(), old[headerSize:]...))
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, c := t.TempDir(), newClock()
			m, _ := sample(t, path, c)
			file := filepath.Join(path, Name)
			old, err := os.ReadFile(file)
			must(t, err)
			st, err := os.Stat(file)
			must(t, err)
			highest := m.change(map[uint32]filename.Flags{7: filename.Flagged}, 9)
			putBack(t, file, old, st.ModTime().Add(-time.Hour))
			late := open(t, path, c)
			if change := late.Refresh(validity, func(*Frame) {}); change != Missing {
				t.Fatalf("%v, want %v", change, Missing)
			}
			late.Begin(validity, 9)
			if late.Highest() <= highest {
				t.Errorf("goes on at %d, %d was told", late.Highest(), highest)
			}
			if change := m.refresh(); change != Missing {
				t.Errorf("the process that has it open finds %v, want %v", change, Missing)
			}
		})
	}
}

// TestOverwritten: a process that has read the journal notices that an older copy was written
// over it, although the modification time was not restored.
func TestOverwritten(t *testing.T) {
	path, c := t.TempDir(), newClock()
	m, _ := sample(t, path, c)
	if m.h.birth == 0 {
		t.Skip("the file system does not tell when files were made")
	}
	file := filepath.Join(path, Name)
	old, err := os.ReadFile(file)
	must(t, err)
	highest := m.change(map[uint32]filename.Flags{7: filename.Flagged}, 9)
	must(t, os.Chtimes(file, time.Time{}, time.Now())) // which alone changes nothing
	if change := m.refresh(); change != Replaced {
		t.Errorf("after touch: %v, want %v", change, Replaced)
	}
	must(t, os.WriteFile(file, old, 0o600))
	must(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Second))) // the clock may not have ticked
	if change := m.refresh(); change != Missing {
		t.Errorf("after cp: %v, want %v", change, Missing)
	}
	if m.Highest() <= highest {
		t.Errorf("goes on at %d, %d was told", m.Highest(), highest)
	}
}

// TestWithoutBirth: a journal that does not record its creation time is valid too.
func TestWithoutBirth(t *testing.T) {
	path, c := t.TempDir(), newClock()
	sample(t, path, c)
	file := filepath.Join(path, Name)
	data, err := os.ReadFile(file)
	must(t, err)
	h, err := decodeHeader(data)
	must(t, err)
	h.birth = 0
	must(t, os.WriteFile(file, append(h.encode(), data[headerSize:]...), 0o600)) // keeps the inode
	late := open(t, path, c)
	if change := late.Refresh(validity, func(*Frame) {}); change != Replaced {
		t.Errorf("%v, want %v", change, Replaced)
	}
}
