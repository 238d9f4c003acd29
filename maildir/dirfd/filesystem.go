package dirfd

import (
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// FreeBytes returns how many bytes of the file system an unprivileged program may still
// fill.
func (d *Dir) FreeBytes() (uint64, error) {
	st, err := d.statfs()
	return st.Bavail * uint64(st.Bsize), err
}

// FreeBytesAt is FreeBytes for the file system of a path that the operator chose.
func FreeBytesAt(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := atPath(path, func() error { return unix.Statfs(path, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), nil
}

func (d *Dir) statfs() (st unix.Statfs_t, err error) {
	err = d.self("statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return st, err
}

// shared are the types of file systems that other hosts may have mounted too, by their
// magic numbers (statfs(2) and the kernel's linux/magic.h). FUSE may be anything.
var shared = []uint32{
	unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
	unix.V9FS_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
	0x01161970 /* GFS2 */, 0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */, 0x19830326 /* BeeGFS */, 0x786f4256, /* VirtualBox folders */
}

// Shared reports whether other hosts may have this directory mounted, and may change its
// contents without this host's kernel noticing. It is also true if that cannot be
// determined.
func (d *Dir) Shared() bool {
	st, err := d.statfs()
	return err != nil || sharedType(uint32(st.Type))
}

func sharedType(magic uint32) bool { return slices.Contains(shared, magic) }
