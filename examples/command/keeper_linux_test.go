package command

import (
	"net"
	"syscall"
	"testing"
)

// keeperOf is the number of the process that keeps a socket.
func keeperOf(t *testing.T, socket string) int {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		who, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			pid = int(who.Pid)
		}
	}); err != nil || pid == 0 {
		t.Fatal("nobody keeps the socket", err)
	}
	return pid
}
