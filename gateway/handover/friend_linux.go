package handover

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// friend reports whether at the other end is a program of our own user, or of root.
func friend(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var who *syscall.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		who, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if asked != nil {
		return asked
	}
	if int(who.Uid) != os.Getuid() && who.Uid != 0 {
		return errors.New("another user's process may not take over")
	}
	return nil
}
