// Package accesskey keeps the mailbox access keys of URLAUTH (RFC 4467): the
// secret that the authorisation in URLs of one mailbox is made with.
//
// It is a plain file, "maildird-urlauth" in the mailbox's folder, which thus
// goes with the mailbox when it is deleted. Only its owner can read it. Its line
// is "INTERNAL" and 64 hexadecimal digits; others mean nothing. It is never
// written in place. Without it, or when it is damaged, no URL of the mailbox is
// valid, and the next one that is authorised makes another key. Snapshots leave
// it out: a restored mailbox would take URLs again that were revoked meanwhile.
package accesskey

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"

	"maildird/maildir/dirfd"
)

const (
	// Name is the file.
	Name = "maildird-urlauth"
	// keySize is the octets of a key: twice what RFC 4467 section 2.2 asks for.
	keySize = 32

	mechanism = "INTERNAL "
	maxFile   = 1 << 10
)

// Read returns the key of the mailbox whose folder this is, nil if it has none.
func Read(folder *dirfd.Dir) ([]byte, error) {
	f, err := folder.Open(Name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, dirfd.ErrNotRegular) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), mechanism)
		if key, err := hex.DecodeString(digits); ok && err == nil && len(key) == keySize {
			return key, nil
		}
	}
	return nil, nil
}

// Make returns the key, and makes one, durable on return with fsync, if there
// is none. Of several processes that do so at once all get the same.
func Make(folder *dirfd.Dir, fsync bool) ([]byte, error) {
	for range tries {
		key, err := Read(folder)
		if key != nil || err != nil {
			return key, err
		}
		if err := create(folder, fsync); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		} else if errors.Is(err, fs.ErrExist) {
			// Somebody was faster, or what is there is no key.
			if key, err := Read(folder); key != nil || err != nil {
				return key, err
			}
			if err := Remove(folder, false); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New(folder.Path() + ": others change " + Name + " all the time")
}

const tries = 10

// create makes the file, whole, or gives fs.ErrExist.
func create(folder *dirfd.Dir, fsync bool) error {
	rights, err := folder.Rights()
	if err != nil {
		return err
	}
	rights.Mode = 0o600 // whatever the folder's is
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	f, err := folder.CreateWhole(Name, rights, []byte(mechanism+hex.EncodeToString(key)+"\n"))
	if err != nil {
		return err
	}
	if fsync {
		if err = f.Sync(); err == nil {
			err = folder.Sync()
		}
	}
	return errors.Join(err, f.Close())
}

// Remove takes the key away, durable on return with fsync.
func Remove(folder *dirfd.Dir, fsync bool) error {
	err := folder.RemoveAll(Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && fsync {
		err = folder.Sync()
	}
	return err
}
