//go:build !unix

package handover

import (
	"errors"
	"net"
	"os"
)

var errUnix = errors.New("sockets are handed over on Unix only")

func isNobody(error) bool { return true }

func say(*net.UnixConn, word, []net.Listener) error { return errUnix }

func hear(*net.UnixConn) (word, []*os.File, error) { return word{}, nil, errUnix }
