package proxy

import (
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/souk-market/souk/gateway/gate"
)

// Place is the one target of a plain way, for an event loop that has the connections
// itself. What bounds the calls to the target is shared with everybody else's.
type Place struct {
	target *target
	pool   *pool
	idle   time.Duration
}

// Place is where a plain way leads; nil if the way is not plain.
func (w *Way) Place() *Place {
	if !w.Plain() {
		return nil
	}
	return &Place{w.up.targets[0], w.up.targets[0].pool, w.up.idle}
}

// Key is the same for all places whose connections may serve each other's calls.
func (p *Place) Key() any { return p.pool }

// Take takes a place for one call, if there is one at once; Done gives it back.
func (p *Place) Take() bool {
	select {
	case p.pool.slots <- struct{}{}:
		p.target.flight.Add(1)
		return true
	default:
		return false
	}
}

// Done ends what Take began.
func (p *Place) Done() {
	p.target.flight.Add(-1)
	<-p.pool.slots
}

// Address is where to connect, if that is known at once: it was looked at (S9, N1).
func (p *Place) Address() (netip.AddrPort, bool) {
	list := p.pool.names.known(p.pool.host, p.pool.options)
	if _, bad := p.pool.illegal(list); bad || len(list) == 0 {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(p.pool.port, 10, 16)
	return netip.AddrPortFrom(list[0].Unmap(), uint16(port)), err == nil
}

// AppendHead appends the head that the seller gets.
func (p *Place) AppendHead(dst []byte, c *gate.Call, length int64) []byte {
	return appendHead(dst, c, p.target, length)
}

// Connect is how long connecting may take; Idle, how long nothing may come of a body; Keep
// and Life, how long a connection may be idle, and live at all.
func (p *Place) Connect() time.Duration { return p.pool.bounds.connect }
func (p *Place) Idle() time.Duration    { return p.idle }
func (p *Place) Keep() time.Duration    { return p.pool.bounds.idle }
func (p *Place) Life() time.Duration    { return p.pool.bounds.life }

// ConnectFailed is what a call is told when connecting ended with an error; 0: with none in
// time.
func ConnectFailed(err syscall.Errno) error {
	if err == 0 {
		err = syscall.ETIMEDOUT
	}
	return gate.Refuse("D504CO", "Backend service connect failed `"+reason(err)+"`")
}
