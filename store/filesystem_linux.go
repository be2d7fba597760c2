package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// refuseNetworkFS returns ErrNetworkFS if folder lies on a file system that
// other machines may write to at the same time.
func refuseNetworkFS(folder string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return fmt.Errorf("folder %s: %w", folder, err)
	}
	if name := networkFS(int64(st.Type)); name != "" {
		return fmt.Errorf("%w (%s is %s): choose a folder on a local disk", ErrNetworkFS, folder, name)
	}
	return nil
}

// networkFS names the network file system with that magic number; "" for any
// other. FUSE is not among them: more of it is local than not.
func networkFS(magic int64) string {
	switch uint32(magic) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "SMB"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	default:
		return ""
	}
}
