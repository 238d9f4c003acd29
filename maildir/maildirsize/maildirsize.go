// Package maildirsize adds to the file "maildirsize" in the root of a Maildir, in which
// Courier, Dovecot, maildrop and Exim record what the Maildir contains
// (http://www.courier-mta.org/imap/README.maildirquota.html): the first line is the quota,
// and each further line has the bytes and messages that were added or, with a minus sign,
// removed. A program that needs the sum adds up the lines, and recalculates it from the
// messages if the file is long or old (package quota). A Maildir without the file is not
// counted.
//
// As in Dovecot, the mail in every folder is counted, including \Deleted messages.
package maildirsize

import (
	"errors"
	"fmt"
	"io/fs"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
)

const name = "maildirsize"

// ErrOver means that a Maildir has no room for what is to be added.
var ErrOver = errors.New("mailbox quota is exceeded")

// ErrNever is ErrOver for something that exceeds the whole limit: there will be no room for
// it, whatever is removed.
var ErrNever = fmt.Errorf("%w, and would be if nothing else were there", ErrOver)

// Kept reports whether the Maildir with this root is counted.
func Kept(root *dirfd.Dir) bool {
	st, err := root.Lstat(name)
	return err == nil && st.Regular()
}

// Add appends what was added or removed, in one write, so that lines of several programs
// are not mixed. Without the file it does nothing. The file is a hint for others and is not
// synced.
func Add(root *dirfd.Dir, bytes int64, messages int) error {
	if messages == 0 {
		return nil
	}
	f, err := root.OpenAppend(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, dirfd.ErrNotRegular) {
			return nil
		}
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d\n", bytes, messages)
	return errors.Join(err, f.Close())
}

// Size returns how many bytes a message file counts: the number in its name (S=), or the
// length of the file; 0 if it does not exist.
func Size(dir *dirfd.Dir, file string) int64 {
	if size, _ := filename.Sizes(filename.Base(file)); size >= 0 {
		return size
	}
	st, err := dir.Lstat(file)
	if err != nil {
		return 0
	}
	return st.Size
}

// Folder returns how much the messages of a folder count.
func Folder(folder *dirfd.Dir) (bytes int64, messages int) {
	for _, sub := range []string{"new", "cur"} {
		in, err := folder.OpenDir(sub)
		if err != nil {
			continue
		}
		_ = in.List(func(file []byte, _ dirfd.Kind, _ uint64) bool {
			if !filename.Ignored(string(file)) {
				bytes += Size(in, string(file))
				messages++
			}
			return true
		})
		_ = in.Close()
	}
	return bytes, messages
}
