//go:build linux

package main

import (
	"bytes"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// loop waits for many connections in one thread.
//
// Why raw system calls: the runtime's bookkeeping around a call costs as much as the call
// does, and this program is the yardstick.
type loop struct {
	fd     int
	events []syscall.EpollEvent
	in     []byte // what was read last; shared by all connections
}

func newLoop() (*loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &loop{fd: fd, events: make([]syscall.EpollEvent, 512), in: make([]byte, 256<<10)}, nil
}

const (
	readable = syscall.EPOLLIN
	writable = syscall.EPOLLOUT
)

func (l *loop) add(fd int, what uint32) error {
	return syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: what, Fd: int32(fd)})
}

func (l *loop) change(fd int, what uint32) error {
	return syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_MOD, fd, &syscall.EpollEvent{Events: what, Fd: int32(fd)})
}

// wait returns what is ready, at the latest after d; negative: whenever something is.
func (l *loop) wait(d time.Duration) []syscall.EpollEvent {
	var spec *syscall.Timespec
	if d >= 0 {
		t := syscall.NsecToTimespec(d.Nanoseconds())
		spec = &t
	}
	const epollPwait2 = 441 // the same on every architecture; has nanoseconds
	n, _, errno := syscall.RawSyscall6(epollPwait2, uintptr(l.fd), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(spec)), 0, 0)
	if errno != 0 {
		return nil // interrupted: the caller comes again
	}
	return l.events[:n]
}

// read gives what there is; ok is false if the connection has ended.
func (l *loop) read(fd int) (b []byte, ok bool) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&l.in[0])), uintptr(len(l.in)))
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return nil, true
	}
	if errno != 0 || n == 0 {
		return nil, false
	}
	return l.in[:n], true
}

// write gives how much was taken; -1 if the connection has ended.
func write(fd int, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return 0
	}
	if errno != 0 {
		return -1
	}
	return int(n)
}

var loopback = [4]byte{127, 0, 0, 1}

func listen(port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: loopback}); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return fd, syscall.Listen(fd, 4096)
}

// accept gives the next connection; -1 if there is none.
func accept(fd int) int {
	c, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return -1
	}
	_ = syscall.SetsockoptInt(c, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // slower without, not wrong
	return c
}

// dial connects; on loopback that is done at once.
func dial(port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: loopback}); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // as above
	return fd, syscall.SetNonblock(fd, true)
}

// out is what a connection still has to send.
type out struct{ rest []byte }

// send writes b behind what waits already. It reports whether the connection lives.
func (o *out) send(l *loop, fd int, b []byte) bool {
	if len(o.rest) > 0 {
		o.rest = append(o.rest, b...)
		return true
	}
	n := write(fd, b)
	if n < 0 {
		return false
	}
	if n < len(b) {
		o.rest = append(o.rest[:0], b[n:]...)
		return l.change(fd, readable|writable) == nil
	}
	return true
}

// more is called when there is room again.
func (o *out) more(l *loop, fd int) bool {
	n := write(fd, o.rest)
	if n < 0 {
		return false
	}
	if o.rest = o.rest[n:]; len(o.rest) == 0 {
		o.rest = nil
		return l.change(fd, readable) == nil
	}
	return true
}

// reply follows the answers on a connection: heads with a Content-Length, and bodies.
type reply struct {
	head []byte // the beginning of a head that is not whole
	left int    // bytes of body still to come
	good bool   // the status of the present one is 2xx
}

// take eats bytes of one answer and reports whether that was its end.
func (r *reply) take(b []byte) (done bool, err error) {
	if r.left > 0 {
		if len(b) > r.left {
			return false, fmt.Errorf("%d bytes behind an answer", len(b)-r.left)
		}
		r.left -= len(b)
		return r.left == 0, nil
	}
	if len(r.head) > 0 {
		r.head = append(r.head, b...)
		b = r.head
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(r.head) == 0 {
			r.head = append(r.head, b...)
		}
		return false, nil
	}
	length := lengthIn(b[:end+2])
	if length < 0 {
		return false, fmt.Errorf("an answer without a length: %q", b[:end])
	}
	r.good = len(b) > 9 && b[9] == '2'
	r.left = length - (len(b) - end - 4)
	r.head = r.head[:0]
	if r.left < 0 {
		return false, fmt.Errorf("%d bytes behind an answer", -r.left)
	}
	return r.left == 0, nil
}

// lengthIn is the Content-Length of a head; -1: there is none.
func lengthIn(head []byte) int {
	const name = "content-length:"
	for len(head) > 0 {
		i := bytes.IndexByte(head, '\n')
		if i < 0 {
			return -1
		}
		line := head[:i]
		head = head[i+1:]
		if len(line) < len(name) || line[len(name)-1] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			continue
		}
		n := 0
		for _, c := range line[len(name):] {
			if '0' <= c && c <= '9' {
				n = n*10 + int(c-'0')
			}
		}
		return n
	}
	return -1
}
