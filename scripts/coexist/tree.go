package coexist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"maildird/maildir/filename"
)

// Tree is the folders of a site as seen by a program that only knows files.
type Tree struct {
	dirs map[string]string // by mailbox name
}

// NewTree returns the directories of the mailboxes with these names.
func NewTree(s *Site, folders []string) *Tree {
	t := &Tree{dirs: map[string]string{}}
	for _, name := range folders {
		rest := strings.TrimPrefix(name, s.opt.Prefix)
		switch {
		case name == "INBOX":
			t.dirs[name] = s.Root
		case s.opt.Layout == "fs":
			t.dirs[name] = filepath.Join(s.Root, strings.ReplaceAll(rest, s.opt.Separator, "/"))
		default:
			t.dirs[name] = filepath.Join(s.Root, "."+strings.ReplaceAll(rest, s.opt.Separator, "."))
		}
	}
	return t
}

// File is a message file.
type File struct {
	Folder, Sub, Name string
}

// Base identifies the message within its folder.
func (f File) Base() string { return filename.Base(f.Name) }

func (t *Tree) path(f File) string { return filepath.Join(t.dirs[f.Folder], f.Sub, f.Name) }

// list returns the files of a folder. If others rename a file meanwhile, it may be
// missed or listed twice.
func (t *Tree) list(folder string) ([]File, error) {
	var files []File
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(t.dirs[folder], sub))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				files = append(files, File{folder, sub, e.Name()})
			}
		}
	}
	return files, nil
}

// letters returns the keyword letters that have a name in a folder.
func (t *Tree) letters(folder string) ([]filename.Flags, error) {
	text, err := os.ReadFile(filepath.Join(t.dirs[folder], "dovecot-keywords"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var letters []filename.Flags
	for line := range strings.Lines(string(text)) {
		var index int
		if _, err := fmt.Sscanf(line, "%d ", &index); err == nil && index < filename.MaxKeywords {
			letters = append(letters, filename.Keyword(index))
		}
	}
	return letters, nil
}

// id returns the Message-ID of a file; the error is fs.ErrNotExist if it no longer exists.
func (t *Tree) id(f File) (string, error) { return readID(t.path(f)) }

func readID(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	header, err := bufio.NewReader(io.LimitReader(file, 4096)).Peek(4096)
	if err != nil && err != io.EOF {
		return "", err
	}
	return MessageID(string(header)), nil
}

// find looks for a file by its base; ok is false if it is really gone, which only the actor
// that has claimed the message can be sure of.
func (t *Tree) find(folder, base string) (f File, ok bool, err error) {
	for range 20 {
		files, err := t.list(folder)
		if err != nil {
			return f, false, err
		}
		for _, f := range files {
			if f.Base() == base {
				return f, true, nil
			}
		}
	}
	return f, false, nil
}

// instances returns the bases of all files of a folder that contain a message. The caller must
// have claimed it, so that their number does not change.
func (t *Tree) instances(folder, id string) (map[string]bool, error) {
	found := map[string]bool{}
	for range 4 {
		files, err := t.list(folder)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			got, err := t.id(f)
			if errors.Is(err, fs.ErrNotExist) {
				continue // renamed; another pass finds it
			}
			if err != nil {
				return nil, err
			}
			if got == id {
				found[f.Base()] = true
			}
		}
	}
	// Passes see files at different times. Look once more for those that are gone
	// in all of them.
	for base := range found {
		if _, ok, err := t.find(folder, base); err != nil {
			return nil, err
		} else if !ok {
			delete(found, base)
		}
	}
	return found, nil
}

// shared returns the messages that have files with the same base in both folders. The result is
// reliable for messages that the caller has claimed.
func (t *Tree) shared(one, two string) (ids map[string]bool, err error) {
	bases := map[string]map[string]bool{} // folder and base
	for _, folder := range []string{one, two} {
		bases[folder] = map[string]bool{}
		for range 4 { // each listing may miss a file that is being renamed
			files, err := t.list(folder)
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				bases[folder][f.Base()] = true
			}
		}
	}
	ids = map[string]bool{}
	for base := range bases[one] {
		if !bases[two][base] {
			continue
		}
		for range 20 { // its flags may be changed before it is opened
			f, ok, err := t.find(one, base)
			if err != nil {
				return nil, err
			}
			if !ok {
				break // this is a message that nobody has claimed
			}
			id, err := t.id(f)
			if err == nil {
				ids[id] = true
				break
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return ids, nil
}

// Check compares the files with the ledger: each message must have the right number of files.
// It returns the Message-IDs for which that is not true.
func (t *Tree) Check(l *Ledger) (ids []string, err error) {
	found := map[string]int{}
	for folder := range t.dirs {
		files, err := t.list(folder)
		if err != nil {
			return nil, err
		}
		for _, one := range files {
			id, err := t.id(one)
			if err != nil {
				return nil, err
			}
			found[id]++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []string
	for id, m := range l.mail {
		if n := found[id]; !m.right(n) {
			ids = append(ids, id)
			wrong = append(wrong, fmt.Sprintf("%q has %d files, it has to have %d", id, n, m.count))
		}
	}
	if len(wrong) > 0 {
		return ids, errors.New(strings.Join(wrong[:min(len(wrong), maxDifferences)], "\n"))
	}
	return nil, nil
}
