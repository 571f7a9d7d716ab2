//go:build linux || darwin || freebsd

package command

import "syscall"

// diskFree is how many bytes may still be written where a folder is.
func diskFree(path string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
