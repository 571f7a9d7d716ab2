package gateway

import (
	"errors"
	"syscall"
	"time"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/wire"
)

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

// socket makes one for a seller. When descriptors are scarce, idle links give up theirs.
func (l *loop) socket(family int) (fd int, err error) {
	for range 2 {
		fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err == nil {
			if proxy.SellerMay(fd) {
				return fd, nil
			}
			_ = syscall.Close(fd)
			err = syscall.EMFILE
		}
		l.dropIdle()
	}
	l.s.scarce()
	return -1, err
}

// connect begins to connect to a place; nil: its address is not known at once.
func (l *loop) connect(place *proxy.Place) *link {
	address, ok := place.Address()
	if !ok {
		return nil
	}
	family, to := sockaddr(address)
	fd, err := l.socket(family)
	if err != nil {
		return nil // so it may be with the goroutine that takes the call, but it can wait
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

// dropIdle closes all links that nobody uses.
func (l *loop) dropIdle() {
	for _, list := range l.idle {
		for _, k := range list {
			l.drop(k)
		}
	}
	clear(l.idle)
}
