package gateway

import (
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/wire"
)

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
	read    int  // bytes that nobody hears, of one that lingers
	gone    bool // the other side has closed, or was reset
	half    bool // the other side has shut its half

	t     *turn
	link  *link // who answers
	phase int32
	since int64
	body  []byte // of the request, not yet taken by Next
}

// assign gives a caller who has come in to the loop that has the fewest: the kernel wakes
// whichever it likes, and one that is awake would take in all of a crowd.
func (l *loop) assign(v *visit) {
	to := l
	for _, other := range l.s.loops {
		if other.count.Load() < to.count.Load() {
			to = other
		}
	}
	to.count.Add(1)
	if to == l || !to.do(func() { to.enter(v) }) {
		l.enter(v)
	}
}

// enter takes a caller's connection into the loop, which counts it already.
func (l *loop) enter(v *visit) {
	v.loop, v.phase, v.since = l, phaseIdle, l.now
	if !l.closed {
		v.seq = l.watch(v.fd)
	}
	if v.seq == 0 {
		_ = syscall.Close(v.fd)
		v.l.leave(v.peer)
		l.count.Add(-1)
		return
	}
	l.visits.put(v.fd, v)
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
	if v.phase == phaseLate {
		l.deafen(v)
		return
	}
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
		if v.more || v.w > v.used {
			l.linger(v)
		} else {
			l.leave(v)
		}
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

// linger shuts our half of a connection on which the caller has said more than we will
// hear, and reads that for a moment: else the end would overtake the last answer.
func (l *loop) linger(v *visit) {
	if syscall.Shutdown(v.fd, syscall.SHUT_WR) != nil {
		l.leave(v)
		return
	}
	v.phase, v.since, v.read = phaseLate, l.now, 0
	l.deafen(v)
}

// deafen reads what comes on a connection that lingers.
func (l *loop) deafen(v *visit) {
	for {
		n, errno := rawRead(v.fd, l.room)
		switch {
		case errno == syscall.EAGAIN:
			return
		case errno == syscall.EINTR:
			continue
		}
		if v.read += n; n <= 0 || v.read > lingerMost {
			l.leave(v)
			return
		}
	}
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

// hand gives a connection to a goroutine: with a request that only it can serve (t is nil,
// and it reads the bytes again), or with a call that has passed the gates. late says that
// the request took too long.
func (l *loop) hand(v *visit, t *turn, late bool) {
	probe, err := syscall.Dup(v.fd)
	if err != nil { // connOf would fail too, and the caller is to hear something (X21)
		l.s.scarce()
		if t == nil {
			l.leave(v)
		} else {
			l.answer(v, proxy.Busy)
		}
		return
	}
	_ = syscall.Close(probe)
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
			l.count.Add(1)
			back := &visit{l: v.l, fd: c.back, peer: c.peer}
			if l.do(func() { l.enter(back) }) {
				return
			}
			l.count.Add(-1)
			_ = syscall.Close(c.back) // we are closing
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

func (v *visit) abort() {}

func (v *visit) hangUp() { v.last = true }

func (v *visit) watch(func()) (stop func()) { return func() {} }

func (v *visit) trailers(gate.Fields) {}
