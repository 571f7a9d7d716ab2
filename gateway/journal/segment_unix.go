//go:build unix && !aix && !solaris && !illumos

package journal

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// mapped maps a file that is written through, and touches each page for writing, so that no
// call waits for that.
func mapped(f *os.File, size int) ([]byte, error) {
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	for at := 0; at < size; at += 4096 {
		p := (*uint64)(unsafe.Pointer(&mem[at]))
		atomic.AddUint64(p, 0)
	}
	return mem, nil
}

func unmapped(mem []byte) error {
	if err := syscall.Munmap(mem); err != nil && err != syscall.EINVAL { // a file that was cut lies in plain memory
		return os.NewSyscallError("munmap", err)
	}
	return nil
}

// sync has nothing to do: what is in the mapping survives the process. It is never synced
// to the disk on the way of a call: the kernel would protect the pages, and the next store
// would wait (metering.md 1.2).
func (s *segment) sync(from, to int64) error { return nil }
