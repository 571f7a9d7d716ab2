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
