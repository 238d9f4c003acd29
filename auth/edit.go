package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Errors of Add, and of SetPassword and Remove.
var (
	ErrExists   = errors.New("user already exists")
	ErrNotFound = errors.New("no such user")
)

// Listed reports whether the users file at path has a line for a name, even one that cannot be
// used. The error says what is wrong with the name or the file.
func Listed(path string, domains []string, name string) (bool, error) {
	full, err := userName(name, domains)
	if err != nil {
		return false, err
	}
	lines, err := readLines(path)
	return lineOf(lines, domains, full) >= 0, err
}

// Add appends a user with this password, of 1 to MaxPassword bytes, to the users file at
// path. A name without a domain gets the first of the domains. The change is durable on
// return. It is ErrExists if the user already exists; other errors say what is wrong with the
// name, the password or the file. Several processes may edit the file at the same time: each
// waits for the others.
func Add(path string, domains []string, name, password string) error {
	return edit(path, domains, name, func(lines []string, at int) ([]string, error) {
		if at >= 0 {
			return nil, ErrExists
		}
		hash, err := HashPassword(defaultScheme, password)
		if err != nil {
			return nil, err
		}
		return append(lines, Fold(name)+":"+hash+"::::::"), nil
	})
}

// SetPassword changes the password of a user, including his extra field with SCRAM keys, if
// any. The rest of the line remains unchanged. It is ErrNotFound if the user does not exist;
// otherwise SetPassword behaves like Add.
func SetPassword(path string, domains []string, name, password string) error {
	return edit(path, domains, name, func(lines []string, at int) ([]string, error) {
		if at < 0 {
			return nil, ErrNotFound
		}
		hash, err := HashPassword(defaultScheme, password)
		if err != nil {
			return nil, err
		}
		f := strings.SplitN(lines[at], ":", 8)
		if len(f) < 2 {
			f = append(f, "")
		}
		f[1] = hash
		if len(f) == 8 {
			if f[7], err = replaceSCRAM(f[7], password); err != nil {
				return nil, err
			}
		}
		lines[at] = strings.Join(f, ":")
		return lines, nil
	})
}

// Remove removes a user from the file, with all lines for his name: otherwise, a line that was
// ignored so far would become the user's, with an old password. The mail is not removed. It is
// ErrNotFound if the user does not exist; otherwise Remove behaves like Add.
func Remove(path string, domains []string, name string) error {
	return edit(path, domains, name, func(lines []string, at int) ([]string, error) {
		if at < 0 {
			return nil, ErrNotFound
		}
		full := nameOf(lines[at], domains)
		return slices.DeleteFunc(lines, func(line string) bool { return nameOf(line, domains) == full }), nil
	})
}

// nameOf returns the name of the user that a line of the users file is for, even if the line
// cannot be used; "" if there is none.
func nameOf(line string, domains []string) string {
	if strings.HasPrefix(line, "#") {
		return ""
	}
	field, _, _ := strings.Cut(strings.TrimRight(line, "\r"), ":")
	name, err := userName(field, domains)
	if err != nil {
		return ""
	}
	return name
}

// lineOf returns the index of the first line for a user, -1 if there is none.
func lineOf(lines, domains []string, full string) int {
	return slices.IndexFunc(lines, func(line string) bool { return nameOf(line, domains) == full })
}

// readLines returns the lines of the users file at path.
func readLines(path string) ([]string, error) {
	text, _, err := readFile(path, "users")
	if err != nil || len(text) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// edit rewrites the users file. change gets its lines and what lineOf returns for the user.
// Comments and unusable lines are kept. Readers see either the old file or the new one, and
// edits wait for each other.
func edit(path string, domains []string, name string, change func(lines []string, at int) ([]string, error)) error {
	full, err := userName(name, domains)
	if err != nil {
		return err
	}
	// Resolve a symbolic link once, so that the rename below replaces the file
	// and not the link.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	lines, err := readLines(path)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if lines, err = change(lines, lineOf(lines, domains, full)); err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	out := strings.Join(lines, "\n")
	if len(lines) > 0 {
		out += "\n"
	}
	return replace(path, []byte(out), st)
}

// replace replaces a file by a new one with the same mode and owner.
func replace(path string, body []byte, old fs.FileInfo) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return fmt.Errorf("cannot write the users file: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	_, err = tmp.Write(body)
	err = errors.Join(err, tmp.Chmod(old.Mode().Perm()))
	if st, ok := old.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = errors.Join(err, tmp.Chown(int(st.Uid), int(st.Gid)))
	}
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the users file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// lock waits for other edits in the directory. It locks the directory itself: a lock file
// would belong to the user who edited first. The kernel releases the lock when a process
// dies, so that it never remains.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the users file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock the users file: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
