// Package quarantine keeps what repairs remove from a Maildir's folders: files that may or
// may not be mail, which mail programs must not see, and which must not be deleted before
// somebody has looked at them.
package quarantine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"maildird/maildir/dirfd"
)

// Name is the quarantine's directory in the root of a Maildir. It is not a mail folder in
// any layout, and contains one directory per folder.
const Name = "maildird-quarantine"

// Place returns the path below the root of the directory for files from a folder.
func Place(folder string) string { return Name + "/" + dirName(folder) }

// longest is the length in bytes of the longest file name.
const longest = 255

// dirName returns the name for a folder's files. Folders may share one: if it would be too
// long, only its end is used, and a folder whose name has only dots has that of the INBOX.
func dirName(folder string) string {
	name := strings.ReplaceAll(folder, "/", ".")
	return cmp.Or(strings.TrimLeft(name[max(0, len(name)-longest):], "."), "INBOX")
}

// Move moves a file of a folder into the quarantine of its Maildir, and returns its path
// there, below the root. It never replaces a file.
func Move(root *dirfd.Dir, folder string, from *dirfd.Dir, name string) (string, error) {
	at, err := open(root, folder)
	if err != nil {
		return "", err
	}
	defer at.Close()
	to := name
	for n := 2; ; n++ {
		err := from.RenameNoReplace(name, at, to)
		if !errors.Is(err, fs.ErrExist) {
			return Place(folder) + "/" + to, err
		}
		suffix := fmt.Sprintf(".%d", n)
		to = name[:min(len(name), longest-len(suffix))] + suffix
	}
}

func open(root *dirfd.Dir, folder string) (*dirfd.Dir, error) {
	rights, err := root.Rights()
	if err != nil {
		return nil, err
	}
	at, err := root.Dup()
	for _, name := range []string{Name, dirName(folder)} {
		if err != nil {
			return nil, err
		}
		var sub *dirfd.Dir
		sub, err = at.MkdirAs(name, rights)
		if errors.Is(err, fs.ErrExist) {
			sub, err = at.OpenDir(name)
		}
		_ = at.Close()
		at = sub
	}
	return at, err
}
