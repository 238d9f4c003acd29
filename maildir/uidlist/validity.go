package uidlist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"maildird/maildir/dirfd"
)

// validityName is the name of Dovecot's counter of UIDVALIDITY values in the root of a
// Maildir. The highest N of the empty files "dovecot-uidvalidity.<8 hex digits N>" is the
// last value assigned, and renaming that file to a higher N allocates a value. The file
// with the bare name contains the same value as text, so that Dovecot finds it faster.
// Source: Dovecot's mailbox-uidvalidity.c.
const validityName = "dovecot-uidvalidity"

// validityTries is how often other programs may take a value first before we give up.
const validityTries = 100

// ErrNoValidity means that the counter of UIDVALIDITY values has reached its end.
var ErrNoValidity = errors.New("no UIDVALIDITY is left")

// NextValidity allocates a UIDVALIDITY from the counter in root, durable on return: the
// last value plus one. A new counter begins with the current time, or above the value in the
// text file. Several programs may allocate at once, and each gets a value of its own.
func NextValidity(root *dirfd.Dir, now time.Time, fsync bool) (uint32, error) {
	n, settle, err := TakeValidity(root, now, fsync)
	if err == nil {
		err = settle()
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// TakeValidity is NextValidity, except that the value is durable only once settle, which
// may be called in another goroutine, has returned without an error. Until then no list may
// have the value under its final name.
func TakeValidity(root *dirfd.Dir, now time.Time, fsync bool) (n uint32, settle func() error, err error) {
	n, err = moveValidity(root, func(highest uint32, any bool) (uint32, error) {
		if any {
			if highest == 1<<32-1 {
				return 0, fmt.Errorf("%s/%s.%08x: %w above this one; remove the file", root.Path(), validityName, highest, ErrNoValidity)
			}
			return highest + 1, nil
		}
		return max(uint32(min(max(now.Unix(), 1), 1<<32-2)), textValidity(root)+1), nil
	})
	return n, func() error { return settleValidity(root, n, fsync) }, err
}

// RaiseValidity raises the counter in root to at least the value least, so that later
// values are greater.
func RaiseValidity(root *dirfd.Dir, least uint32, fsync bool) error {
	n, err := moveValidity(root, func(highest uint32, any bool) (uint32, error) {
		if any && highest >= least {
			return 0, nil
		}
		return least, nil
	})
	if err != nil || n == 0 {
		return err
	}
	return settleValidity(root, n, fsync)
}

// settleValidity makes it durable that the counter was advanced to n, and writes n to the
// text file, which merely saves Dovecot a search.
func settleValidity(root *dirfd.Dir, n uint32, fsync bool) error {
	if fsync {
		if err := root.Sync(); err != nil {
			return err
		}
	}
	_ = writeValidity(root, n)
	return nil
}

// moveValidity advances the counter to the value that next returns; 0 leaves it unchanged.
func moveValidity(root *dirfd.Dir, next func(highest uint32, any bool) (uint32, error)) (uint32, error) {
	name := func(n uint32) string { return fmt.Sprintf("%s.%08x", validityName, n) }
	for range validityTries {
		highest, any, err := highestValidity(root, 0)
		if err != nil {
			return 0, err
		}
		n, err := next(highest, any)
		if err != nil || n == 0 {
			return 0, err
		}
		if any {
			err = root.RenameNoReplace(name(highest), root, name(n))
		} else {
			err = newCounter(root, name(n), n)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			continue // another program was faster
		}
		if err != nil {
			return 0, err
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s/%s: other programs change it all the time", root.Path(), validityName)
}

// newCounter creates the first file of a counter, or returns fs.ErrExist if there is one by
// now. Another program may have created it, and advanced it, since the directory was
// listed: then the name is free again, but its value is taken.
func newCounter(root *dirfd.Dir, name string, n uint32) error {
	if err := createEmpty(root, name); err != nil {
		return err
	}
	_, another, err := highestValidity(root, n)
	if err == nil && another {
		err = fs.ErrExist
	}
	if err == nil {
		return nil
	}
	if gone := root.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = gone
	}
	return err
}

// emptyLooks is how often a directory is listed before it counts as having no counter: a
// file that is renamed during a listing may be missing from it under both names.
const emptyLooks = 6

// highestValidity finds the counter, ignoring the file with the value but.
func highestValidity(root *dirfd.Dir, but uint32) (highest uint32, any bool, err error) {
	for range emptyLooks {
		if highest, any, err = listValidity(root, but); any || err != nil {
			break
		}
	}
	return highest, any, err
}

func listValidity(root *dirfd.Dir, but uint32) (highest uint32, any bool, err error) {
	err = root.List(func(name []byte, _ dirfd.Kind, _ uint64) bool {
		if len(name) != len(validityName)+9 || string(name[:len(validityName)+1]) != validityName+"." {
			return true
		}
		if n, err := strconv.ParseUint(string(name[len(validityName)+1:]), 16, 32); err == nil && uint32(n) != but {
			highest, any = max(highest, uint32(n)), true
		}
		return true
	})
	return highest, any, err
}

// textValidity reads the counter's text file; 0 if there is no usable one.
func textValidity(root *dirfd.Dir) uint32 {
	text, err := root.ReadFile(validityName, 64)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 32)
	if err != nil || n == 1<<32-1 {
		return 0
	}
	return uint32(n)
}

func createEmpty(root *dirfd.Dir, name string) error {
	rights, err := root.Rights()
	if err != nil {
		return err
	}
	f, err := root.CreateAs(name, rights)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o444), f.Close())
}

// writeValidity replaces the counter's text.
func writeValidity(root *dirfd.Dir, n uint32) error {
	_, err := root.Replace(validityName, fmt.Sprintf("%s.tmp.%08x", validityName, n), func(f *dirfd.File) error {
		_, err := fmt.Fprintf(f, "%08x", n)
		return errors.Join(err, f.Close())
	})
	return err
}

// ValidityOf returns the UIDVALIDITY in a folder's list; 0 if there is none that can be
// read.
func ValidityOf(folder *dirfd.Dir) uint32 { return HeaderOf(folder).UIDValidity }

// HeaderOf is ReadHeader for callers that do not need the error.
func HeaderOf(folder *dirfd.Dir) Header {
	h, _ := ReadHeader(folder)
	return h
}

// ReadHeader reads the first line of a folder's list. It returns a zero Header if there is
// no list, or if its first line gives no UIDVALIDITY.
func ReadHeader(folder *dirfd.Dir) (Header, error) {
	f, err := folder.Open(Name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, dirfd.ErrNotRegular) {
		return Header{}, nil
	}
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxLine)).ReadString('\n')
	if err != nil {
		if err == io.EOF {
			err = nil
		}
		return Header{}, err
	}
	h, _, _ := parseHeader(strings.TrimSuffix(line, "\n"))
	return h, nil
}
