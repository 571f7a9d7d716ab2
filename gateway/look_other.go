//go:build !unix

package gateway

import "syscall"

// ended cannot look at a socket here; a caller who shuts his side has left, then.
func ended(syscall.RawConn) bool { return false }

// dup is for loops, which there are none of here.
func dup(syscall.RawConn) (int, bool) { return 0, false }
