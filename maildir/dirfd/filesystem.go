package dirfd

import (
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// FreeBytes returns how much space of the file system an unprivileged program may
// still fill, and how many files it may still create (a file system that does not
// count files gives a huge number).
func (d *Dir) FreeBytes() (bytes, files uint64, err error) {
	st, err := d.statfs()
	files = st.Ffree
	if st.Files == 0 {
		files = 1 << 62
	}
	return st.Bavail * uint64(st.Bsize), files, err
}

// FreeBytesAt is FreeBytes for the file system of a path that the operator
// chose.
func FreeBytesAt(path string) (uint64, error) {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(path, &st); err {
		case nil:
			return st.Bavail * uint64(st.Bsize), nil
		case unix.EINTR:
			continue
		default:
			return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
}

func (d *Dir) statfs() (st unix.Statfs_t, err error) {
	err = d.self("statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return st, err
}

// ReadOnly tells whether the file system is mounted read-only.
func (d *Dir) ReadOnly() bool {
	st, err := d.statfs()
	return err == nil && st.Flags&unix.ST_RDONLY != 0
}

// SyncAll makes everything on the directory's file system durable (syncfs):
// what is best after a change of thousands of files.
func (d *Dir) SyncAll() error {
	return d.self("sync the file system of", unix.Syncfs)
}

// shared are the types of file systems that other hosts may have mounted too.
// FUSE may be anything.
var shared = []int64{
	unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
	unix.V9FS_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
	0x01161970 /* GFS2 */, 0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */, 0x19830326, /* BeeGFS */
}

// Shared tells whether other hosts may have this directory mounted; true also
// if it cannot be told.
func (d *Dir) Shared() bool {
	st, err := d.statfs()
	return err != nil || slices.Contains(shared, int64(st.Type))
}

// remote are file systems on which other machines may change files without
// this one's kernel noticing: NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, AFS, GFS2,
// OCFS2, Lustre, VirtualBox folders.
var remote = []uint32{0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997, 0x00c36400, 0x5346414f,
	0x01161970, 0x7461636f, 0x0bd00bd0, 0x786f4256}

// Remote tells whether the directory is on such a file system.
func (d *Dir) Remote() (bool, error) {
	var st unix.Statfs_t
	err := d.self("statfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return slices.Contains(remote, uint32(st.Type)), err
}
