package journal

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNetworkFS(t *testing.T) {
	for magic, want := range map[uint32]string{
		unix.NFS_SUPER_MAGIC:  "nfs",
		unix.CIFS_SUPER_MAGIC: "smb",
		unix.SMB_SUPER_MAGIC:  "smb",
		unix.V9FS_MAGIC:       "9p",
		unix.CEPH_SUPER_MAGIC: "ceph",
		unix.EXT4_SUPER_MAGIC: "",
		unix.XFS_SUPER_MAGIC:  "",
		unix.TMPFS_MAGIC:      "",
		unix.FUSE_SUPER_MAGIC: "", // this folder is on none over the network
	} {
		st := unix.Statfs_t{}
		st.Type = int64(magic)
		if got := networkFS(t.TempDir(), &st); got != want {
			t.Errorf("type %#x is %q, want %q", magic, got, want)
		}
	}
}

func TestMountType(t *testing.T) {
	const mountinfo = `22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 27 0:61 / /mnt/far\040away rw,nosuid,nodev shared:50 - fuse.sshfs me@there: rw,user_id=0
`
	for device, want := range map[[2]uint32]string{{0, 61}: "fuse.sshfs", {254, 0}: "ext4", {9, 9}: ""} {
		if got := mountType(strings.NewReader(mountinfo), device[0], device[1]); got != want {
			t.Errorf("device %v is %q, want %q", device, got, want)
		}
	}
}
