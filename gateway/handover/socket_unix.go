//go:build unix

package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

func isNobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// say sends a word, and the sockets of listeners with it.
func say(c *net.UnixConn, w word, listeners []net.Listener) error {
	return withFDs(listeners, nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = syscall.UnixRights(fds...)
		}
		_, _, err := c.WriteMsgUnix(encode(w), rights, nil)
		return err
	})
}

// withFDs calls f with the descriptors of listeners, which stay open and as they are until
// it returns.
//
// Why not File: the descriptor that it gives shares its flags with the listener's own, and
// whoever asks it for its number makes both wait.
func withFDs(listeners []net.Listener, fds []int, f func([]int) error) error {
	if len(listeners) == 0 {
		return f(fds)
	}
	l, ok := listeners[0].(syscall.Conn)
	if !ok {
		return fmt.Errorf("a listener of type %T has no descriptor", listeners[0])
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = withFDs(listeners[1:], append(fds, int(fd)), f) })
	return errors.Join(err, inner)
}

// hear reads a word, and the files that came with it.
func hear(c *net.UnixConn) (w word, files []*os.File, err error) {
	b := make([]byte, 8<<10)
	oob := make([]byte, syscall.CmsgSpace(4*maxListeners))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if oobn > 0 {
		messages, parseErr := syscall.ParseSocketControlMessage(oob[:oobn])
		err = errors.Join(err, parseErr)
		for _, m := range messages {
			fds, parseErr := syscall.ParseUnixRights(&m)
			err = errors.Join(err, parseErr)
			for _, fd := range fds {
				syscall.CloseOnExec(fd)
				files = append(files, os.NewFile(uintptr(fd), "listener"))
			}
		}
	}
	if err != nil {
		return w, files, err
	}
	if n == 0 {
		return w, files, errors.New("the other process has gone")
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return w, files, errors.New("more listeners than fit")
	}
	w, err = decode(b[:n])
	return w, files, err
}
