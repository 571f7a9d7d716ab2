//go:build unix

package quota

import (
	"os"
	"syscall"
)

// lockFile takes a file for this process alone until it is closed; the kernel lets go of it
// when the process ends, however it ends.
func lockFile(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
