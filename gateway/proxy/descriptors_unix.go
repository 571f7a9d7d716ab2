//go:build unix

package proxy

import (
	"errors"
	"math"
	"sync"
	"syscall"
)

// Reserved is how many descriptors no seller's connection takes, and half of which no
// caller's takes: those are for the database, the journals and the log, so that what was
// answered can be written down (X21).
const Reserved = 32

// Descriptors is how many files and sockets the process may have open.
var Descriptors = sync.OnceValue(func() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
})

var errScarce = errors.New("descriptors are scarce")

// SellerMay reports whether a connection to a seller may have this descriptor. A new one is
// the lowest that is free, so a high one says that those below are taken.
func SellerMay(fd int) bool { return fd < Descriptors()-Reserved }

// CallerMay reports whether further callers may be accepted after one with this descriptor.
func CallerMay(fd int) bool { return fd < Descriptors()-Reserved/2 }

// reserve is a dialer's Control.
func reserve(_, _ string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) {
		if !SellerMay(int(fd)) {
			err = errScarce
		}
	}); e != nil {
		return e
	}
	return err
}

// scarce reports whether the process had no descriptor for a connection, of which its seller
// knows nothing.
func scarce(err error) bool {
	return errors.Is(err, errScarce) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
