package gateway

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/wire"
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

	mu     sync.Mutex // guards inbox
	inbox  []func()
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

// visit is a caller's connection.
type visit struct {
	framer
	loop *loop
	l    *listener
	fd   int
	peer netip.Addr

	seq int32

	in      []byte // nil while nothing is there
	w       int    // in[:w] was read
	request wire.Request
	headEnd int  // bytes of in before the body
	used    int  // bytes of in that belong to the present request
	more    bool // there may be more to read
	gone    bool // the other side has closed, or was reset
	half    bool // the other side has shut its half

	t     *turn
	link  *link // who answers
	phase int32
	since int64
	body  []byte // of the request, not yet taken by Next
}

// link is a connection to a seller.
type link struct {
	fd         int
	seq        int32
	place      *proxy.Place
	born       int64
	since      int64 // of the phase
	phase      int32
	connecting bool
	visit      *visit
	in         []byte // of a head that is not whole
	out        []byte // of a request that the socket did not take
	head       wire.Response
	body       wire.Body
	interim    int
	paused     bool // the caller takes no more for now
	answered   bool // the head has come
}

// The phases of a link.
const (
	linkIdle = iota
	linkConnect
	linkHead
	linkBody
)

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

// do runs f in the loop's goroutine, soon. It may be called from any goroutine.
func (l *loop) do(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	one := [8]byte{1}
	_, _ = syscall.Write(l.wake, one[:]) // a full counter wakes as well
}

// run is the loop, until stop.
func (l *loop) run() {
	defer close(l.ended)
	l.now = time.Now().UnixMilli()
	for !l.round() {
	}
	l.visits.each(l.leave)
	l.links.each(l.cut)
	_ = syscall.Close(l.ep)
	_ = syscall.Close(l.wake)
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

// knock watches a door again.
func (l *loop) knock(d *door) {
	if !d.on && !l.closed {
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

// byFD is a table of what there is by descriptor. Descriptors are small numbers, and a look
// at a map costs ten times as much.
type byFD[T any] struct{ list []*T }

func (b *byFD[T]) at(fd int) *T {
	if fd < len(b.list) {
		return b.list[fd]
	}
	return nil
}

func (b *byFD[T]) put(fd int, v *T) {
	if fd >= len(b.list) {
		b.list = append(b.list, make([]*T, fd+64-len(b.list))...)
	}
	b.list[fd] = v
}

// each calls f for all; f may take any out.
func (b *byFD[T]) each(f func(*T)) {
	for _, v := range b.list {
		if v != nil {
			f(v)
		}
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
		l.enter(&visit{l: d.l, fd: fd, peer: peer})
	}
}

// enter takes a caller's connection into the loop.
func (l *loop) enter(v *visit) {
	v.loop, v.phase, v.since = l, phaseIdle, l.now
	if !l.closed {
		v.seq = l.watch(v.fd)
	}
	if v.seq == 0 {
		_ = syscall.Close(v.fd)
		v.l.leave(v.peer)
		return
	}
	l.visits.put(v.fd, v)
	l.count.Add(1)
}

// leave ends a caller's connection, and what is under way on it.
func (l *loop) leave(v *visit) {
	if l.visits.at(v.fd) != v {
		return
	}
	l.visits.put(v.fd, nil)
	if k := v.link; k != nil {
		v.link, k.visit = nil, nil
		l.cut(k)
	}
	if t := v.t; t != nil {
		v.t = nil
		t.lost()
	}
	_ = syscall.Close(v.fd)
	l.free(v)
	v.l.leave(v.peer)
	l.count.Add(-1)
}

func (l *loop) free(v *visit) {
	if cap(v.in) == loopBuffer && len(l.buffers) < keepFree {
		l.buffers = append(l.buffers, v.in[:loopBuffer])
	}
	v.in, v.w = nil, 0
}

// take is Server.take without a look at what other processors have.
func (l *loop) take() *turn {
	n := len(l.turns)
	if n == 0 {
		return l.s.take()
	}
	t := l.turns[n-1]
	l.turns = l.turns[:n-1]
	t.begin(l.s)
	return t
}

func (l *loop) buffer() []byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return make([]byte, loopBuffer)
}

func (l *loop) onVisit(v *visit, events uint32) {
	l.busy = v
	left := false // while his answer streams; who had shut his half before wants it all the same
	if events&(syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		v.gone, left = true, true
	}
	if events&syscall.EPOLLRDHUP != 0 {
		left = left || !v.half
		v.half = true
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		v.more = true
	}
	if v.t != nil {
		// A call is under way. Who leaves while his answer streams has it no longer; who does
		// before it began is still paid for (design F12, metering.md 1.6).
		if k := v.link; k != nil && k.answered && left {
			l.leave(v)
			return
		}
		if len(v.out) > 0 && events&syscall.EPOLLOUT != 0 {
			l.drained(v)
		}
		return
	}
	if len(v.out) > 0 {
		if events&syscall.EPOLLOUT != 0 {
			l.drained(v)
		}
		return
	}
	l.pull(v)
}

// drained goes on writing to a caller who can take more.
func (l *loop) drained(v *visit) {
	if v.flush() != nil {
		l.leave(v)
		return
	}
	if len(v.out) > 0 {
		return
	}
	switch k := v.link; {
	case k != nil && k.paused:
		k.paused = false
		l.onLink(k, syscall.EPOLLIN)
	case v.t == nil:
		l.next(v)
	}
}

// pull reads what a caller has sent, and serves it.
func (l *loop) pull(v *visit) {
	for v.more {
		if v.in == nil {
			v.in = l.buffer()
		}
		if v.w == len(v.in) {
			if len(v.in) >= l.most() {
				l.hand(v, nil, false) // it is too large for here
				return
			}
			more := make([]byte, 2*len(v.in))
			copy(more, v.in[:v.w])
			v.in = more
		}
		n, errno := rawRead(v.fd, v.in[v.w:])
		switch {
		case errno == syscall.EAGAIN:
			v.more = false
		case errno == syscall.EINTR:
			continue
		case n == 0 && v.w > 0:
			l.hand(v, nil, false) // what was sent is not whole, and he may want to hear it
			return
		case n <= 0:
			l.leave(v)
			return
		default:
			v.more = n == len(v.in)-v.w || v.half || v.gone
			v.w += n
		}
		if v.w > 0 && !l.parse(v) {
			return
		}
	}
	if v.w == 0 && v.in != nil {
		l.free(v)
	}
}

func (l *loop) most() int { return max(l.s.options.MaxHead, wire.DefaultHead) + loopBody }

// parse looks for a whole request in what was read. false: the visit is not to be read from
// now.
func (l *loop) parse(v *visit) bool {
	if v.phase == phaseIdle {
		v.phase, v.since = phaseHead, l.now
	}
	n, err := v.request.Parse(v.in[:v.w], l.s.bounds)
	if err != nil {
		l.hand(v, nil, false)
		return false
	}
	if n == 0 {
		return true
	}
	r := &v.request
	if r.Minor != 1 || r.Expect || r.Upgrade != nil || r.Length < 0 || r.Length > loopBody {
		l.hand(v, nil, false)
		return false
	}
	if v.used = n + int(r.Length); v.used > v.w {
		r.Reset()
		v.phase = phaseBody
		return true // the rest will come
	}
	v.headEnd, v.body = n, v.in[n:v.used]
	l.serve(v)
	return false
}

// serve takes a whole request through the gates, and asks the seller.
func (l *loop) serve(v *visit) {
	s := l.s
	t := l.take()
	c, r := t.c, &v.request
	c.Method, c.Host, c.Target, c.Peer, c.Framed = r.Method, r.Host, r.Target, v.peer, r.Length != 0
	c.Fields, r.Fields = r.Fields, c.Fields[:0]
	t.to, t.length = v, r.Length
	v.t, v.phase, v.since = t, phaseWork, l.now
	v.last = r.Close || s.draining.Load()
	s.meter.Begin()
	err := s.guard(t, t.admits)
	if err == nil && !c.Replied() {
		hold, warm := gate.Hold{}, false
		if t.ready.simple {
			hold, warm = s.quota.Warm(c.App, c.Route.Product)
		}
		if !warm {
			l.hand(v, t, false)
			return
		}
		c.Hold = hold
		if l.ask(v) {
			return
		}
		l.hand(v, t, false) // there is no place at the seller, or his address is not known yet
		return
	}
	l.answer(v, err)
}

// ask sends the call to the seller; false: it cannot be done here and now.
func (l *loop) ask(v *visit) bool {
	t := v.t
	place := t.ready.place
	if !place.Take() {
		return false
	}
	t.c.Tries, t.asked, t.sent = 1, true, t.began // the gates took a microsecond
	l.out = append(place.AppendHead(l.out[:0], t.c, t.length), v.in[v.headEnd:v.used]...)
	for k := l.borrow(place); k != nil; k = l.borrow(place) {
		n, errno := rawWrite(k.fd, l.out)
		if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
			l.drop(k) // it was dead before the first byte
			continue
		}
		if errno != 0 {
			n = 0
		}
		l.join(v, k, place)
		k.phase, k.out = linkHead, append(k.out[:0], l.out[n:]...)
		return true
	}
	k := l.connect(place)
	if k == nil {
		t.c.Tries, t.asked = 0, false
		place.Done()
		return false
	}
	l.join(v, k, place)
	k.out = append(k.out[:0], l.out...)
	return true
}

// join makes a link the one that answers a visit.
func (l *loop) join(v *visit, k *link, place *proxy.Place) {
	k.place, k.visit, v.link = place, v, k
	k.answered, k.interim, k.paused, k.since = false, 0, false, l.now
	k.head.Reset()
}

// push writes to a seller; what he does not take now waits.
func (l *loop) push(k *link, b []byte) {
	n, errno := rawWrite(k.fd, b)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		n = 0
	case errno != 0:
		// He may have answered before he had heard all; reading tells.
		l.onLink(k, syscall.EPOLLIN)
		return
	}
	if n < len(b) {
		k.out = append(k.out[:0], b[n:]...)
	} else {
		k.out = k.out[:0]
	}
}

// borrow takes the youngest idle connection to a place. All are watched: one that said a
// word or ended is not there any more.
func (l *loop) borrow(place *proxy.Place) *link {
	key := place.Key()
	list := l.idle[key]
	for n := len(list); n > 0; n = len(list) {
		k := list[n-1]
		list[n-1] = nil
		list = list[:n-1]
		l.idle[key] = list
		if l.links.at(k.fd) == k && l.now-k.since < place.Keep().Milliseconds() && l.now-k.born < place.Life().Milliseconds() {
			return k
		}
		l.drop(k)
	}
	return nil
}

// connect begins to connect to a place; nil: its address is not known at once.
func (l *loop) connect(place *proxy.Place) *link {
	address, ok := place.Address()
	if !ok {
		return nil
	}
	family, to := sockaddr(address)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // it is slower without
	err = syscall.Connect(fd, to)
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		_ = syscall.Close(fd)
		return nil // the goroutine that takes the call will say what is wrong
	}
	k := &link{fd: fd, seq: l.watch(fd), born: l.now, since: l.now, phase: linkConnect, connecting: true}
	if k.seq == 0 {
		_ = syscall.Close(fd)
		return nil
	}
	l.links.put(fd, k)
	return k
}

func (l *loop) onLink(k *link, events uint32) {
	v := k.visit
	l.busy = v
	if v == nil {
		if events&^syscall.EPOLLOUT != 0 {
			l.drop(k) // between two calls a seller has nothing to say
		}
		return
	}
	if k.connecting {
		code, err := syscall.GetsockoptInt(k.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err != nil {
			code = int(syscall.EIO)
		}
		if code != 0 {
			l.retreat(k)
			return
		}
		if events&syscall.EPOLLOUT == 0 {
			return
		}
		k.connecting, k.phase, k.since = false, linkHead, l.now
	}
	if len(k.out) > 0 && events&syscall.EPOLLOUT != 0 {
		rest := k.out
		l.push(k, rest)
		if k.visit != v {
			return
		}
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) == 0 {
		return
	}
	// What comes in one go is worked off in one go; a reading that fills the room is not the
	// last one, and neither is one after which the seller has closed.
	for k.visit == v && !k.paused {
		n, errno := rawRead(k.fd, l.room)
		if errno == syscall.EINTR {
			continue
		}
		if errno == syscall.EAGAIN {
			return
		}
		if n <= 0 {
			l.closedBy(k, errno)
			return
		}
		k.since = l.now
		l.heard(k, l.room[:n])
		if n < len(l.room) && events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) == 0 {
			return
		}
	}
}

// heard works off bytes of a seller.
func (l *loop) heard(k *link, b []byte) {
	v := k.visit
	if k.answered {
		l.pour(k, b)
		return
	}
	if len(k.in) > 0 {
		k.in = append(k.in, b...)
		b = k.in
	}
	for {
		n, err := k.head.Parse(b, string(v.request.Method) == "HEAD", l.s.proxy.Bounds())
		if err != nil {
			l.failed(k, proxy.HeadFault(err))
			return
		}
		if n == 0 {
			k.in = append(k.in[:0], b...) // b may be its end
			return
		}
		b = b[n:]
		if k.head.Status >= 200 {
			break
		}
		if k.interim++; k.head.Status == 101 || k.interim > proxy.MaxInterim {
			l.failed(k, proxy.NotOurs)
			return
		}
		k.head.Reset()
	}
	l.begin(k, b)
}

// begin settles the call, and brings its head and what there is of its body to the caller.
func (l *loop) begin(k *link, b []byte) {
	v := k.visit
	t := v.t
	a := &t.c.Answer
	a.Status, a.Reason, a.Length, a.Stated = k.head.Status, k.head.Reason, k.head.Length, k.head.Stated
	a.Fields = append(a.Fields[:0], gate.KeepAnswerFields(k.head.Fields)...)
	k.answered, k.phase = true, linkBody
	k.body.Begin(k.head.Length)
	t.at = time.Now()
	t.upstream = t.at.Sub(t.sent)
	l.s.meter.Upstream(t.upstream)
	if err := l.s.guard(t, t.settles); err != nil {
		l.failed(k, err)
		return
	}
	t.finish()
	whole := k.body.Left() >= 0 && k.body.Left() <= int64(len(b))
	if whole {
		t.end()
	}
	v.begin(t.c, answerBody{length: a.Length, none: bodiless(t.c)})
	l.pour(k, b)
	if k.visit == v {
		k.in = nil // the head has gone
	}
}

// pour brings content to the caller as it comes.
func (l *loop) pour(k *link, b []byte) {
	v := k.visit
	for len(b) > 0 && !k.body.Done() {
		skip, size, err := k.body.Next(b)
		if err != nil {
			l.broke(k)
			return
		}
		piece := b[skip : skip+size]
		b = b[skip+size:]
		if size == 0 {
			continue
		}
		if err := v.write(piece); err != nil {
			l.leave(v)
			return
		}
	}
	if k.body.Done() {
		l.whole(k, len(b) == 0)
		return
	}
	if v.flush() != nil {
		l.leave(v)
		return
	}
	if len(v.out) > 0 {
		k.paused = true // the caller takes no more for now
		v.phase, v.since = phaseWrite, l.now
	} else {
		v.phase = phaseWatched
	}
}

// whole is the end of an answer. clean: not a byte came behind it.
func (l *loop) whole(k *link, clean bool) {
	v := k.visit
	k.visit, v.link = nil, nil
	k.place.Done()
	k.in, k.phase, k.since = k.in[:0], linkIdle, l.now
	if clean && !k.head.Close && len(k.out) == 0 {
		key := k.place.Key()
		l.idle[key] = append(l.idle[key], k)
	} else {
		l.drop(k)
	}
	if v.end() != nil {
		l.leave(v)
		return
	}
	l.finished(v)
}

// finished is the end of a call; the next one begins when its answer is out.
func (l *loop) finished(v *visit) {
	t := v.t
	v.t = nil
	if t.end(); len(l.turns) < keepFree {
		l.turns = append(l.turns, t)
	}
	if len(v.out) > 0 {
		v.phase, v.since = phaseWrite, l.now
		return
	}
	l.next(v)
}

// next makes a visit ready for another request.
func (l *loop) next(v *visit) {
	if v.last {
		l.leave(v)
		return
	}
	rest := copy(v.in, v.in[v.used:v.w])
	v.w, v.used, v.headEnd, v.body = rest, 0, 0, nil
	v.request.Reset()
	v.phase, v.since = phaseIdle, l.now
	if rest > 0 {
		if !l.parse(v) {
			return
		}
	}
	if v.more {
		l.pull(v)
	} else if rest == 0 {
		l.free(v)
	}
}

// failed answers a call whose seller did not.
func (l *loop) failed(k *link, err error) {
	v := k.visit
	k.visit, v.link = nil, nil
	k.place.Done()
	l.drop(k)
	v.t.at = time.Now()
	v.t.upstream = v.t.at.Sub(v.t.sent)
	l.s.meter.Upstream(v.t.upstream)
	l.answer(v, err)
}

// answer gives the caller what the gateway itself has to say: an error, or a local answer.
func (l *loop) answer(v *visit, err error) {
	t := v.t
	t.at = time.Now()
	if err == nil {
		err = l.s.guard(t, t.settles)
	}
	if err != nil {
		if t.settled {
			t.takeBack()
		}
		t.refuse(err)
	}
	t.finish()
	t.end()
	a := &t.c.Answer
	body := answerBody{length: a.Length, none: bodiless(t.c)}
	v.begin(t.c, body)
	if !body.none && len(a.Body) > 0 {
		if v.write(a.Body) != nil {
			l.leave(v)
			return
		}
	}
	if v.end() != nil {
		l.leave(v)
		return
	}
	l.finished(v)
}

// retreat gives a call whose connection cannot be made to a goroutine, which tries the other
// addresses of the name, and says what is wrong with them.
func (l *loop) retreat(k *link) {
	v := k.visit
	k.visit, v.link = nil, nil
	k.place.Done()
	l.drop(k)
	v.t.c.Tries, v.t.asked = 0, false
	l.hand(v, v.t, false)
}

// closedBy is the end of a seller's connection during a call.
func (l *loop) closedBy(k *link, errno syscall.Errno) {
	switch {
	case !k.answered:
		l.failed(k, gate.AnswerBroken)
	case k.body.Open() && errno == 0:
		l.whole(k, false)
	default:
		l.broke(k)
	}
}

// broke ends an answer that is not whole, so that the caller can tell, and takes its charge
// back.
func (l *loop) broke(k *link) {
	v := k.visit
	v.t.broke = true
	v.t.takeBack()
	_ = v.flush() // he may have what there is
	_ = syscall.SetsockoptLinger(v.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	l.leave(v)
}

// cut ends a link in the middle of a call.
func (l *loop) cut(k *link) {
	if l.links.at(k.fd) == k && k.phase != linkIdle && k.place != nil {
		k.place.Done()
		k.phase = linkIdle
	}
	l.drop(k)
}

// drop closes a link that no call has.
func (l *loop) drop(k *link) {
	if l.links.at(k.fd) == k {
		l.links.put(k.fd, nil)
		_ = syscall.Close(k.fd)
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
		}
		if limit < 0 || time.Duration(l.now-v.since)*time.Millisecond < limit {
			return
		}
		l.busy = v
		if v.phase == phaseHead || v.phase == phaseBody {
			l.hand(v, nil, true)
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

// hand gives a connection to a goroutine: with a request that only it can serve (t is nil,
// and it reads the bytes again), or with a call that has passed the gates. late says that
// the request took too long.
func (l *loop) hand(v *visit, t *turn, late bool) {
	l.visits.put(v.fd, nil)
	_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_DEL, v.fd, nil)
	v.t = nil
	n, err := connOf(v.fd)
	if err != nil {
		if t != nil {
			t.lost()
		}
		v.l.leave(v.peer)
		l.count.Add(-1)
		return
	}
	c := &conn{Conn: n, s: l.s, peer: v.peer, in: v.in, w: v.w, tardy: late}
	c.last = v.last
	v.in = nil
	if t != nil {
		c.home = l // the next request may be one for the loop again
		c.request = v.request
		c.begun, c.floor, c.r = true, v.headEnd, v.headEnd
		c.body.Begin(t.length)
		t.to = c
	}
	v.l.wait.Go(func() {
		l.count.Add(-1) // not before the other counts it: draining waits for both
		if l.s.hostTurn(c, t) {
			l.do(func() { l.enter(&visit{l: v.l, fd: c.back, peer: c.peer}) })
			return
		}
		v.l.leave(v.peer)
	})
}

// connOf makes of a descriptor a connection of Go's.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "caller")
	defer func() { _ = f.Close() }() // FileConn has a descriptor of its own
	return net.FileConn(f)
}

// A visit is the caller of its turn.

// Next is the body, which is there.
func (v *visit) Next() ([]byte, error) {
	b := v.body
	v.body = nil
	return b, io.EOF
}

// Stop has nothing to stop.
func (v *visit) Stop() {}

func (v *visit) begin(c *gate.Call, body answerBody) {
	if v.loop.s.draining.Load() {
		v.last = true
	}
	v.head(c, body, 1)
}

// write adds content. A large piece goes out at once, behind what waits for it.
func (v *visit) write(piece []byte) error {
	v.open(len(piece))
	if !v.chunks && len(piece) > outBuffer/4 {
		return v.both(piece)
	}
	v.out = append(v.out, piece...)
	v.shut()
	if len(v.out) > outBuffer {
		return v.flush()
	}
	return nil
}

// both writes what waits and a piece in one go.
func (v *visit) both(piece []byte) error {
	if len(v.out) == 0 {
		n, errno := rawWrite(v.fd, piece)
		if errno == syscall.EAGAIN || errno == syscall.EINTR {
			n, errno = 0, 0
		}
		if errno != 0 {
			return errno
		}
		v.out = append(v.out, piece[n:]...)
		return nil
	}
	two := [2]syscall.Iovec{{Base: &v.out[0]}, {Base: &piece[0]}}
	two[0].SetLen(len(v.out))
	two[1].SetLen(len(piece))
	r, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(v.fd), uintptr(unsafe.Pointer(&two[0])), 2)
	runtime.KeepAlive(piece)
	n := int(r)
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		n, errno = 0, 0
	}
	if errno != 0 {
		return errno
	}
	if n < len(v.out) {
		v.out = append(v.out[:copy(v.out, v.out[n:])], piece...)
		return nil
	}
	v.out = append(v.out[:0], piece[n-len(v.out):]...)
	return nil
}

// flush writes what there is; what the caller does not take now stays.
func (v *visit) flush() error {
	if len(v.out) == 0 {
		return nil
	}
	n, errno := rawWrite(v.fd, v.out)
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		n, errno = 0, 0
	}
	if errno != 0 {
		return errno
	}
	if v.out = v.out[:copy(v.out, v.out[n:])]; len(v.out) == 0 && cap(v.out) > 4*outBuffer {
		v.out = nil
	}
	if n > 0 {
		v.since = v.loop.now
	}
	return nil
}

func (v *visit) end() error {
	v.done()
	return v.flush()
}

func (v *visit) abort()                     {}
func (v *visit) hangUp()                    { v.last = true }
func (v *visit) watch(func()) (stop func()) { return func() {} }
func (v *visit) trailers(gate.Fields)       {}

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func addressOf(sa syscall.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).Unmap()
	}
	return netip.Addr{}
}

func sockaddr(a netip.AddrPort) (family int, sa syscall.Sockaddr) {
	if a.Addr().Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// startLoops makes the loops, one for each processor.
func (s *Server) startLoops(n int) error {
	for range n {
		l, err := newLoop(s)
		if err != nil {
			return err
		}
		s.loops = append(s.loops, l)
		go l.run()
	}
	return nil
}

// serveLoops has the loops accept on a listener until it is closed; false: they cannot.
func (s *Server) serveLoops(own *listener) bool {
	tcp, ok := own.Listener.(*net.TCPListener)
	if !ok || len(s.loops) == 0 {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var doors []int
	for range s.loops {
		fd := -1
		// The loop's own descriptor, so that closing the listener cannot make it another's.
		if raw.Control(func(l uintptr) { fd, err = syscall.Dup(int(l)) }) != nil || err != nil {
			break
		}
		syscall.CloseOnExec(fd)
		doors = append(doors, fd)
	}
	if len(doors) < len(s.loops) {
		for _, fd := range doors {
			_ = syscall.Close(fd)
		}
		return false
	}
	for i, l := range s.loops {
		l.do(func() { l.open(own, doors[i]) })
	}
	<-own.shut
	for i, l := range s.loops {
		shut := make(chan struct{})
		l.do(func() { l.shut(doors[i]); close(shut) })
		select {
		case <-shut:
		case <-l.ended:
		}
	}
	return true
}

// visits is how many callers' connections the loops have.
func (s *Server) visits() (n int64) {
	for _, l := range s.loops {
		n += l.count.Load()
	}
	return n
}

// sweepLoops has the loops look at once for what has no time left.
func (s *Server) sweepLoops() {
	for _, l := range s.loops {
		l.do(l.sweep)
	}
}

// abortLoops ends what is under way: calls fail as if their sellers had closed.
func (s *Server) abortLoops() {
	for _, l := range s.loops {
		l.do(func() {
			l.links.each(func(k *link) {
				if k.visit != nil {
					l.closedBy(k, syscall.ECONNABORTED)
				}
			})
		})
	}
}

// killLoops ends all connections of the loops.
func (s *Server) killLoops() {
	for _, l := range s.loops {
		l.do(func() {
			l.closed = true
			l.visits.each(l.leave)
		})
	}
}

// stopLoops ends the loops, and waits for that.
func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.do(nil)
		<-l.ended
	}
}
