package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/proxy"
)

// loop serves kept HTTP/1.1 connections, callers' and sellers', on one epoll and in one
// goroutine. It takes the calls on whose way nothing waits (ready.simple) and hands all
// others to a goroutine, with their connection and as far as they have come.
//
// Why: a goroutine for each connection costs a hand-over between threads for every time a
// socket becomes readable, which is most of what a lightly loaded proxy in Go spends; see
// the table in the README and design/performance.md. All decisions are those of the turn
// and of wire, which work on bytes and do not know who reads them.
//
// Everything here belongs to the loop's goroutine, but for what says otherwise.
type loop struct {
	s       *Server
	ep      int
	wake    int // an eventfd that other goroutines write to
	doors   map[int]*door
	visits  byFD[visit] // callers
	links   byFD[link]  // sellers
	idle    map[any][]*link
	buffers [][]byte
	turns   []*turn // that wait for the next call
	events  [256]syscall.EpollEvent
	room    []byte // answers are read into it
	out     []byte // requests are made in it
	now     int64  // milliseconds, of the last wait
	swept   int64
	busy    *visit // what is being worked on, for who recovers
	seq     int32  // numbers what is watched, so that no event reaches who has the descriptor next

	mu     sync.Mutex // guards inbox, dead, and that wake is open
	inbox  []func()
	dead   bool
	ended  chan struct{}
	count  atomic.Int64 // of visits
	closed bool         // no more visits
}

// door is a listening socket.
type door struct {
	l  *listener
	fd int
	on bool // it is watched
}

const (
	loopBuffer = 4 << 10   // of a request: a head and a small body
	loopBody   = 16 << 10  // largest body that a loop takes
	loopRoom   = 128 << 10 // of one read of an answer
	keepFree   = 1024      // buffers that wait for the next call
	watched    = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | epollET

	epollET        = 1 << 31
	epollExclusive = 1 << 28
)

func newLoop(s *Server) (*loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		_ = syscall.Close(ep)
		return nil, errno
	}
	l := &loop{s: s, ep: ep, wake: int(fd), doors: map[int]*door{}, idle: map[any][]*link{},
		room: make([]byte, loopRoom), ended: make(chan struct{})}
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, l.wake, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l.wake)}); err != nil {
		_ = syscall.Close(ep)
		_ = syscall.Close(l.wake)
		return nil, err
	}
	return l, nil
}

// do runs f in the loop's goroutine, soon; false: the loop has ended. It may be called from
// any goroutine.
func (l *loop) do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock() // until the loop is woken: afterwards the descriptor may be another's
	if l.dead {
		return false
	}
	l.inbox = append(l.inbox, f)
	one := [8]byte{1}
	_, _ = syscall.Write(l.wake, one[:]) // a full counter wakes as well
	return true
}

// run is the loop, until stop.
func (l *loop) run() {
	defer close(l.ended)
	l.now = time.Now().UnixMilli()
	for !l.round() {
	}
	l.mu.Lock()
	l.dead = true
	inbox := l.inbox
	_ = syscall.Close(l.wake)
	l.mu.Unlock()
	l.closed = true
	for _, f := range inbox {
		if f != nil {
			f() // who wanted to enter is turned away
		}
	}
	l.visits.each(l.leave)
	l.links.each(l.cut)
	for fd := range l.doors {
		l.shut(fd)
	}
	_ = syscall.Close(l.ep)
}

// sweepEvery is how often a loop looks for what takes too long, in milliseconds.
const sweepEvery = 100

// round waits for events and works them off. A panic costs the call that it came from.
func (l *loop) round() (over bool) {
	defer func() {
		if r := recover(); r != nil {
			l.s.panics.Add(1)
			l.s.log.Error("panic in a loop", zap.Any("panic", r), zap.Stack("stack"))
			if v := l.busy; v != nil {
				l.leave(v)
			}
		}
		l.busy = nil
	}()
	n, _, errno := syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), sweepEvery, 0, 0)
	if errno != 0 {
		n = 0
	}
	l.now = time.Now().UnixMilli()
	for i := range int(n) {
		e := &l.events[i]
		fd := int(e.Fd)
		if k := l.links.at(fd); k != nil {
			if k.seq == e.Pad {
				l.onLink(k, e.Events)
			}
		} else if v := l.visits.at(fd); v != nil {
			if v.seq == e.Pad {
				l.onVisit(v, e.Events)
			}
		} else if d := l.doors[fd]; d != nil {
			l.accept(d)
		} else if fd == l.wake {
			if l.read() {
				return true
			}
		}
	}
	if l.now-l.swept >= sweepEvery {
		l.swept = l.now
		l.sweep()
	}
	return false
}

// read does what others have asked for; true: that is to stop.
func (l *loop) read() bool {
	var b [8]byte
	_, _ = syscall.Read(l.wake, b[:]) // it says only that there is something
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		if f == nil {
			return true
		}
		f()
	}
	return false
}

// open begins to accept on a listening socket.
func (l *loop) open(own *listener, fd int) {
	d := &door{l: own, fd: fd}
	l.doors[fd] = d
	l.knock(d)
}

// knock watches a door again, if there are descriptors for callers.
func (l *loop) knock(d *door) {
	if !d.on && !l.closed {
		probe, err := syscall.Dup(d.fd)
		if err != nil {
			return
		}
		_ = syscall.Close(probe)
		if !proxy.CallerMay(probe) {
			l.dropIdle()
			return
		}
		d.on = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, d.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | epollExclusive, Fd: int32(d.fd)}) == nil
	}
}

// rest stops watching a door until the next sweep: there is no place, or no descriptor.
func (l *loop) rest(d *door) {
	if d.on {
		_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_DEL, d.fd, nil)
		d.on = false
	}
}

// shut closes a door.
func (l *loop) shut(fd int) {
	if d := l.doors[fd]; d != nil {
		l.rest(d)
		delete(l.doors, fd)
		_ = syscall.Close(fd)
	}
}

// watch has the loop hear of a socket; 0: it cannot.
func (l *loop) watch(fd int) (seq int32) {
	if l.seq++; l.seq == 0 {
		l.seq = 1
	}
	if syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: watched, Fd: int32(fd), Pad: l.seq}) != nil {
		return 0
	}
	return l.seq
}

// acceptMost bounds how many callers come in before others are served.
const acceptMost = 64

func (l *loop) accept(d *door) {
	for range acceptMost {
		select {
		case d.l.places <- struct{}{}:
		default:
			l.rest(d)
			return
		}
		fd, from, err := syscall.Accept4(d.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			<-d.l.places
			if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.ECONNABORTED) {
				l.dropIdle()
				l.rest(d) // no descriptors left, or the like: it passes (X21)
			}
			return
		}
		peer := addressOf(from)
		if !d.l.admitAddr(peer) {
			_ = syscall.Close(fd)
			<-d.l.places
			continue
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // it is slower without
		l.assign(&visit{l: d.l, fd: fd, peer: peer})
		if !proxy.CallerMay(fd) {
			l.dropIdle()
			l.rest(d)
			return
		}
	}
}

// sweep ends what takes too long.
func (l *loop) sweep() {
	o := &l.s.options
	grace := l.s.graceOver.Load()
	l.visits.each(func(v *visit) {
		limit := time.Duration(-1)
		switch v.phase {
		case phaseIdle:
			if limit = o.IdleTimeout; grace {
				limit = 0
			}
		case phaseHead:
			limit = o.HeadTimeout
		case phaseBody:
			limit = o.BodyTimeout
		case phaseWrite:
			limit = o.WriteTimeout
		case phaseLate:
			limit = lingerFor
		}
		if limit < 0 || time.Duration(l.now-v.since)*time.Millisecond < limit {
			return
		}
		l.busy = v
		if v.phase == phaseHead || v.phase == phaseBody {
			l.hand(v, nil, v.phase == phaseHead) // a goroutine has the rules for slow bodies
			return
		}
		l.leave(v)
	})
	l.links.each(func(k *link) {
		age := time.Duration(l.now-k.since) * time.Millisecond
		l.busy = k.visit
		switch {
		case k.visit == nil:
			if k.place == nil || age >= k.place.Keep() {
				l.drop(k)
			}
		case k.phase == linkConnect && age >= k.place.Connect():
			l.failed(k, proxy.ConnectFailed(0))
		case k.phase == linkHead && age >= k.visit.t.ready.way.Timeout():
			l.failed(k, gate.UpstreamTimeout)
		case k.phase == linkBody && !k.paused && age >= k.place.Idle():
			l.broke(k)
		}
	})
	for key, list := range l.idle {
		kept := list[:0]
		for _, k := range list {
			if l.links.at(k.fd) == k {
				kept = append(kept, k)
			}
		}
		clear(list[len(kept):])
		if l.idle[key] = kept; len(kept) == 0 {
			delete(l.idle, key)
		}
	}
	for _, d := range l.doors {
		l.knock(d)
	}
}
