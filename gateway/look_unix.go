//go:build unix

package gateway

import "syscall"

// ended reports whether the other side has shut its half of a connection, or left.
func ended(raw syscall.RawConn) (yes bool) {
	_ = raw.Control(func(fd uintptr) { // a closed one has ended
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		yes = n == 0 && err == nil
	})
	return yes
}

// dup is another descriptor of a connection.
func dup(raw syscall.RawConn) (fd int, ok bool) {
	_ = raw.Control(func(old uintptr) { // a closed one has none
		var err error
		if fd, err = syscall.Dup(int(old)); err == nil {
			syscall.CloseOnExec(fd)
			ok = true
		}
	})
	return fd, ok
}
