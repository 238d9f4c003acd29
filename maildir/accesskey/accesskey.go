// Package accesskey stores the mailbox access keys of URLAUTH (RFC 4467): the secret with
// which the authorisation in URLs of a mailbox is computed.
//
// A key is stored in a text file, "maildird-urlauth" in the mailbox's folder, so it is
// deleted together with the mailbox. Only the owner can read the file. Its line is
// "INTERNAL" and 64 hexadecimal digits; other lines are ignored. It is never written in
// place. If it is missing or damaged, no URL of the mailbox is valid, and the next
// authorisation of a URL creates a new key. Snapshots do not include it: otherwise, a
// restored mailbox would accept URLs that were revoked meanwhile.
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
	// Name is the name of the file.
	Name = "maildird-urlauth"
	// keySize is the length of a key in octets: twice what RFC 4467 section 2.2 requires.
	keySize = 32

	mechanism = "INTERNAL "
	maxFile   = 1 << 10
)

// Read returns the key of the mailbox with this folder, nil if it has none.
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

// Make returns the key. If there is none it creates one, durable on return with fsync.
// Several processes that do so at once all get the same key.
func Make(folder *dirfd.Dir, fsync bool) ([]byte, error) {
	for range tries {
		key, err := Read(folder)
		if key != nil || err != nil {
			return key, err
		}
		if err := create(folder, fsync); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		} else if errors.Is(err, fs.ErrExist) {
			// Somebody was faster, or what is there is not a key.
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

// create creates the complete file, or returns fs.ErrExist.
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
		if err != nil { // otherwise, whoever reads the key next would assume that it is durable
			err = errors.Join(err, Remove(folder, false))
		}
	}
	return errors.Join(err, f.Close())
}

// Remove removes the key, durable on return with fsync.
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
