package journal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// networkFS names the network file system that dir is on, or "". WAL mode needs memory
// that is shared between all who use the file, which no network file system has
// (https://www.sqlite.org/wal.html#noshm), and many of them lie about syncs.
func networkFS(dir string, st *unix.Statfs_t) string {
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
	case unix.FUSE_SUPER_MAGIC:
		return remoteFUSE(dir)
	}
	return ""
}

// remoteFUSE names the file system in user space that dir is on if it is one over the
// network. Others (fuse-overlayfs of rootless containers, an encrypted folder) are fine.
func remoteFUSE(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return ""
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	name := mountType(f, unix.Major(st.Dev), unix.Minor(st.Dev))
	switch kind := strings.TrimPrefix(name, "fuse."); kind {
	case "sshfs", "glusterfs", "s3fs", "rclone", "ceph-fuse", "davfs", "davfs2", "gcsfuse", "blobfuse", "blobfuse2", "curlftpfs", "mount-s3", "juicefs", "seaweedfs":
		return kind
	}
	return ""
}

// mountType finds the type of the file system with that device number in the text of
// /proc/self/mountinfo (proc_pid_mountinfo(5)).
func mountType(mountinfo io.Reader, major, minor uint32) string {
	device := fmt.Sprintf("%d:%d", major, minor)
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 2 && fields[2] == device {
			kind, _, _ := strings.Cut(after, " ")
			return kind
		}
	}
	return ""
}
