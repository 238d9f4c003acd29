package check

import (
	"io/fs"
	"slices"

	"maildird/maildir/dirfd"
	"maildird/maildir/folder"
	"maildird/maildir/walk"
)

// links finds symbolic links where a folder would be. Dovecot and mutt follow them;
// maildird does not, so the mail behind them is neither shown nor included in snapshots.
func (c *checker) links(a *at) error {
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
			a.add(label(name), "it is a symbolic link to a directory, which is not followed: mail there is neither shown nor backed up; "+
				"put the directory itself in its place, or mount it there (mount --bind)", nil)
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
