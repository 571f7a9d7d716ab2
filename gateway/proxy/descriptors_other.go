//go:build !unix

package proxy

import (
	"math"
	"syscall"
)

// Reserved is 0: this system has no bound of descriptors that matters.
const Reserved = 0

// Descriptors is how many files and sockets the process may have open.
func Descriptors() int { return math.MaxInt32 }

// SellerMay reports whether a connection to a seller may have this descriptor.
func SellerMay(int) bool { return true }

// CallerMay reports whether further callers may be accepted after one with this descriptor.
func CallerMay(int) bool { return true }

func reserve(_, _ string, _ syscall.RawConn) error { return nil }

func scarce(error) bool { return false }
