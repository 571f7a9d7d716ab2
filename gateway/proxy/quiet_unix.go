//go:build unix

package proxy

import "syscall"

// quiet reports whether an idle connection is as we left it: open, with nothing to read.
// Between two calls an upstream has nothing to say, so a byte is as bad as the end.
func quiet(raw syscall.RawConn) bool {
	if raw == nil {
		return true
	}
	ok := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
	})
	return err == nil && ok
}
