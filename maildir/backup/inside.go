package backup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Inside reports whether the path dest is that of the Maildir at root or of a place in it,
// whether or not these exist. It creates nothing.
func Inside(dest, root string) (bool, error) {
	dest, err := resolve(dest)
	if err != nil {
		return false, err
	}
	root, err = resolve(root)
	if err != nil {
		return false, err
	}
	return dest == root || strings.HasPrefix(dest, strings.TrimSuffix(root, "/")+"/"), nil
}

// resolve makes a path absolute and follows the symbolic links in the part of it that
// exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if st, err := os.Lstat(path); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		return path, nil // a dangling link
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}
