package redistest

import "syscall"

// endWithParent: a test binary that panics or is killed runs no cleanup.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
