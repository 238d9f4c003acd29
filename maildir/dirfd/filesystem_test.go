package dirfd

import "testing"

// TestSharedTypes: a file system that other machines change has to be checked repeatedly,
// because no event reports these changes. The numbers are those of statfs(2).
func TestSharedTypes(t *testing.T) {
	for name, magic := range map[string]uint32{
		"nfs": 0x6969, "smb": 0x517b, "cifs": 0xff534d42, "smb2": 0xfe534d42, "fuse": 0x65735546, "9p": 0x01021997, "ceph": 0x00c36400,
		"afs": 0x5346414f, "afs of the kernel": 0x6b414653, "coda": 0x73757245, "gfs2": 0x01161970, "ocfs2": 0x7461636f,
		"lustre": 0x0bd00bd0, "gpfs": 0x47504653, "beegfs": 0x19830326, "vboxsf": 0x786f4256,
	} {
		if !sharedType(magic) {
			t.Errorf("%s (%#x) counts as this machine's own", name, magic)
		}
	}
	for name, magic := range map[string]uint32{
		"ext4": 0xef53, "xfs": 0x58465342, "btrfs": 0x9123683e, "tmpfs": 0x01021994, "overlay": 0x794c7630, "zfs": 0x2fc12fc1, "f2fs": 0xf2f52010,
	} {
		if sharedType(magic) {
			t.Errorf("%s (%#x) counts as shared", name, magic)
		}
	}
}
