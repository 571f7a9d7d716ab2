package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// bounds of a pool, filled from an Upstream and the defaults.
type bounds struct {
	conns, queue              int
	wait, connect, idle, life time.Duration
}

func (b *bounds) fill(o *Options) {
	use := func(d *time.Duration, more ...time.Duration) {
		for _, m := range more {
			if *d <= 0 {
				*d = m
			}
		}
	}
	if b.conns <= 0 {
		b.conns = o.MaxConns
	}
	if b.conns <= 0 {
		b.conns = DefaultMaxConns
	}
	if b.queue <= 0 {
		b.queue = DefaultMaxQueue
	}
	use(&b.wait, o.QueueTimeout, DefaultQueueTimeout)
	use(&b.connect, DefaultConnectTimeout)
	use(&b.idle, DefaultKeepIdle)
	use(&b.life, DefaultKeepLife)
}

// pool has the connections to one place. It lends each connection to one call at a time,
// the youngest first, so that those beyond the need die.
type pool struct {
	options *Options
	bounds  bounds
	scheme  string
	host    string // without port
	port    string
	tls     *tls.Config // nil: plain HTTP
	h2      bool

	slots   chan struct{} // one token for each connection lent
	waiting atomic.Int64  // calls that wait for one

	idleMu sync.Mutex // guards idle, lent, closed
	idle   []*conn
	lent   map[*conn]struct{}
	closed bool

	names names
	two   twos // HTTP/2, where the place speaks it
}

// conn is a connection with its read buffer. It has one owner: a call, or the pool.
type conn struct {
	net.Conn
	pool  *pool
	raw   syscall.RawConn // of the TCP connection, under TLS too
	in    []byte          // read and not yet used: in[r:w]
	r, w  int
	born  time.Time
	since time.Time // when it was put back
	floor int       // what lies below in in is still needed
	wrote int64     // bytes that the upstream's host took of this call
	used  bool      // by an earlier call
}

// Write counts what has left, since a call may be sent again only if nothing has.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wrote += int64(n)
	return n, err
}

// fill reads once, behind what is there. The buffer grows up to what an answer's head may
// have; a body is used up before more is read.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = c.floor, c.floor
	}
	if c.w == len(c.in) {
		if c.r > c.floor {
			c.w = c.floor + copy(c.in[c.floor:], c.in[c.r:c.w])
			c.r = c.floor
		} else {
			more := make([]byte, max(readBuffer, 2*len(c.in)))
			copy(more, c.in[:c.w])
			c.in = more
		}
	}
	n, err := c.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (c *conn) close() { _ = c.Conn.Close() } // of no more use

// readBuffer is the first size of a connection's buffer: many heads and small answers.
const readBuffer = 16 << 10

// Busy is what a call is told for which there is no connection in time: its seller has all
// that he may have, or the process has no descriptor for one more.
var Busy = gate.Refuse("D503BB", "Backend circuit breaker busy")

// take lends a connection. An idle one is looked at first: what was closed by the other
// side, or holds bytes that nobody asked for, is thrown away.
func (p *pool) take(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		if err := p.queue(ctx); err != nil {
			return nil, err
		}
	}
	now := p.options.Now()
	for c := p.pop(); c != nil; c = p.pop() {
		if now.Sub(c.since) < p.bounds.idle && now.Sub(c.born) < p.bounds.life && quiet(c.raw) {
			c.wrote, c.used = 0, true
			p.lend(c)
			return c, nil
		}
		c.close()
	}
	ctx, cancel := context.WithTimeout(ctx, p.bounds.connect)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	p.lend(c)
	return c, nil
}

// lend notes that a call has the connection.
func (p *pool) lend(c *conn) {
	p.idleMu.Lock()
	p.lent[c] = struct{}{}
	p.idleMu.Unlock()
}

// abort ends what calls have; they fail as if the seller had closed.
func (p *pool) abort() {
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	for c := range p.lent {
		_ = c.Conn.Close() // whoever waits is woken up by it
	}
	p.two.close()
}

// queue waits for a place, if there are not too many waiting already.
func (p *pool) queue(ctx context.Context) error {
	if p.waiting.Add(1) > int64(p.bounds.queue) {
		p.waiting.Add(-1)
		return Busy
	}
	defer p.waiting.Add(-1)
	timer := time.NewTimer(p.bounds.wait)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return Busy
	case <-ctx.Done():
		return gate.UpstreamTimeout
	}
}

func (p *pool) pop() *conn {
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// give takes a connection back. It is kept only if its answer ended where it said, and not
// a byte came behind it.
func (p *pool) give(c *conn, keep bool) {
	if keep = keep && c.r == c.w; keep {
		c.since = p.options.Now()
		if len(c.in) > readBuffer {
			c.in = nil // one large head does not cost for ever
		}
		c.r, c.w = 0, 0
	}
	p.idleMu.Lock()
	delete(p.lent, c)
	if keep && !p.closed {
		p.idle = append(p.idle, c)
		c = nil
	}
	p.idleMu.Unlock()
	if c != nil {
		c.close()
	}
	<-p.slots
}

// prune closes what has been idle for too long or does not sit still; all of it if the pool
// is done.
func (p *pool) prune(now time.Time, all bool) {
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	p.closed = p.closed || all
	kept := p.idle[:0]
	for _, c := range p.idle {
		if !all && now.Sub(c.since) < p.bounds.idle && now.Sub(c.born) < p.bounds.life && quiet(c.raw) {
			kept = append(kept, c)
			continue
		}
		c.close()
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	if all {
		p.two.close()
	}
}

// dropIdle closes what is idle, however long.
func (p *pool) dropIdle() { p.prune(p.options.Now().Add(p.bounds.idle), false) }

// dial resolves the name and connects to an address that was looked at, so that no second
// answer of the DNS can lead elsewhere.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	addresses, err := p.resolve(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := connect(ctx, addresses, p.port)
	for end := p.options.Now().Add(p.bounds.wait); scarce(err); raw, err = connect(ctx, addresses, p.port) {
		if !p.options.Now().Before(end) {
			return nil, Busy // no fault of the seller's
		}
		p.dropIdle()
		select {
		case <-time.After(10 * time.Millisecond): // nobody tells when one is closed
		case <-ctx.Done():
			return nil, Busy
		}
	}
	if err != nil {
		return nil, gate.Refuse("D504CO", "Backend service connect failed `"+reason(err)+"`")
	}
	return p.wrap(ctx, raw)
}

func (p *pool) resolve(ctx context.Context) ([]netip.Addr, error) {
	all, err := p.names.lookup(ctx, p.host, p.options)
	if err != nil || len(all) == 0 {
		return nil, gate.Refuse("D504RE", "Domain `"+p.host+"` resolve failed")
	}
	if a, bad := p.illegal(all); bad {
		return nil, gate.Refuse("D504IL", "Domain `"+p.host+"` resolve to illegal address `"+a.String()+"`")
	}
	return all[:min(len(all), maxAddresses)], nil
}

// illegal finds an address that may not be called. One bad one among good ones is a name
// that is being turned around.
func (p *pool) illegal(list []netip.Addr) (netip.Addr, bool) {
	for _, a := range list {
		if !p.options.AllowPrivate && !control.PublicAddress(a) || p.own(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// own reports whether the address is one that we listen on: a call must not go round.
func (p *pool) own(a netip.Addr) bool {
	for _, d := range p.options.Deny {
		if d.Addr().Unmap() == a.Unmap() && itoa(d.Port()) == p.port {
			return true
		}
	}
	return false
}

func (p *pool) wrap(ctx context.Context, raw net.Conn) (*conn, error) {
	c := &conn{Conn: raw, pool: p, born: p.options.Now()}
	if tcp, ok := raw.(*net.TCPConn); ok {
		c.raw, _ = tcp.SyscallConn() // nil: the connection cannot be looked at, and is not
	}
	if p.tls != nil {
		secure := tls.Client(raw, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // the handshake's error says more
			return nil, gate.Refuse("D504CS", "Backend http ssl connect failed `"+tlsReason(err)+"`")
		}
		c.Conn = secure
	}
	return c, nil
}

// reason says in a word why there is no connection; addresses and the like stay with us.
func reason(err error) string {
	switch {
	case err == nil:
		return "no address"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return "timeout"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	}
	return "error"
}

func tlsReason(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "certificate"
	case errors.Is(err, errPin):
		return "pin"
	case isTimeout(err):
		return "timeout"
	}
	return "handshake"
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
