package check

import (
	"io/fs"
	"slices"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/walk"
)

// linkAdvice is what to do about a symbolic link.
const linkAdvice = "which is not followed: mail there is neither shown nor backed up; " +
	"put the directory itself in its place, or mount it there (mount --bind)"

// links finds symbolic links where a folder would be, or in a directory that is no mail folder
// where its new and cur would be. Dovecot and mutt follow them; maildird does not, so the mail
// behind them is neither shown nor included in snapshots.
func (c *checker) links(a *at, mail bool) error {
	if !mail && (c.opt.Folder.Layout == folder.LayoutFS || a.path != "" && c.namesFolder(a.path) && !strings.Contains(a.path, "/")) {
		for _, part := range walk.MailDirs[:2] {
			if to, err := a.dir.StatTarget(part); err == nil && to.Mode.IsDir() {
				a.add(part, "it is a symbolic link to a directory, "+linkAdvice, nil)
			}
		}
	}
	if c.opt.Folder.Layout != folder.LayoutFS && a.path != "" {
		return nil // in Maildir++, all folders are directly in the root
	}
	return a.dir.List(func(raw []byte, kind dirfd.Kind, _ uint64) bool {
		name := string(raw)
		if kind != dirfd.KindOther && kind != dirfd.KindUnknown || !c.namesFolder(name) {
			return true
		}
		st, err := a.dir.Lstat(name)
		if err != nil || st.Mode&fs.ModeSymlink == 0 {
			return true
		}
		if to, err := a.dir.StatTarget(name); err == nil && to.Mode.IsDir() {
			a.add(label(name), "it is a symbolic link to a directory, "+linkAdvice, nil)
		}
		return len(a.problems) < most
	})
}

// namesFolder reports whether an entry with that name could be a folder.
func (c *checker) namesFolder(name string) bool {
	if c.opt.Folder.Layout == folder.LayoutFS {
		return name[0] != '.' && !slices.Contains(walk.MailDirs, name)
	}
	return name[0] == '.'
}
