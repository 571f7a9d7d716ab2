package gateway

import (
	"net/netip"
	"syscall"
	"unsafe"
)

// byFD is a table of what there is by descriptor. Descriptors are small numbers, and a look
// at a map costs ten times as much.
type byFD[T any] struct{ list []*T }

func (b *byFD[T]) at(fd int) *T {
	if fd < len(b.list) {
		return b.list[fd]
	}
	return nil
}

func (b *byFD[T]) put(fd int, v *T) {
	if fd >= len(b.list) {
		b.list = append(b.list, make([]*T, fd+64-len(b.list))...)
	}
	b.list[fd] = v
}

// each calls f for all; f may take any out.
func (b *byFD[T]) each(f func(*T)) {
	for _, v := range b.list {
		if v != nil {
			f(v)
		}
	}
}

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func addressOf(sa syscall.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap()
	}
	return netip.Addr{}
}

func sockaddr(a netip.AddrPort) (family int, sa syscall.Sockaddr) {
	if a.Addr().Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
