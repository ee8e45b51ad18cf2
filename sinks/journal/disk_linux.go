package journal

import "golang.org/x/sys/unix"

// networkFS names the network file system that a statfs answer is of, or "". WAL mode
// needs memory that is shared between all who use the file, which no network file system
// has (https://www.sqlite.org/wal.html#noshm), and many of them lie about syncs.
func networkFS(st *unix.Statfs_t) string {
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, 0xfe534d42: // the last is smb3
		return "smb"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC:
		return "afs"
	case unix.CEPH_SUPER_MAGIC:
		return "ceph"
	case unix.OCFS2_SUPER_MAGIC, 0x01161970: // and gfs2
		return "a cluster file system"
	case 0x0bd00bd0:
		return "lustre"
	case unix.FUSE_SUPER_MAGIC: // sshfs, s3fs, glusterfs and the like: no telling which
		return "fuse"
	}
	return ""
}
