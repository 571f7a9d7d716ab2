package journal

import (
	"errors"
	"os"
	"syscall"
)

// reserve sets space on the disk aside. A file system that cannot is left to the writing
// that follows.
func reserve(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}
