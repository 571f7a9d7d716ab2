package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// pool has the connections to one upstream: its scheme, host and port. It lends each
// connection to one call at a time, the youngest first, so that those beyond the need die.
//
// Why our own: a connection that the upstream closed while it was idle must be found dead
// before the first byte of a call is written, and the head that goes out must be the
// caller's, byte for byte.
type pool struct {
	options *Options
	host    string // without port
	port    string
	tls     *tls.Config // nil: plain HTTP

	slots chan struct{} // one token for each connection lent

	idleMu sync.Mutex // guards idle, closed
	idle   []*conn
	closed bool

	generation uint64 // guarded by Proxy.poolsMu
}

// conn is a connection with its buffers. It has one owner: a call, or the pool.
type conn struct {
	net.Conn
	raw   syscall.RawConn // of the TCP connection, under TLS too
	r     *bufio.Reader
	w     *bufio.Writer
	wrote int64 // bytes that the upstream's host took of this call
	since time.Time
}

// Write counts what has left, since a call may be sent again only if nothing has.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wrote += int64(n)
	return n, err
}

// errBusy: too many calls are under way to the upstream, and none ended in time.
var errBusy = gate.Refuse("D503BB", "Backend circuit breaker busy")

// take lends a connection. An idle one is looked at first: what was closed by the other
// side, or holds bytes that nobody asked for, is thrown away.
func (p *pool) take(ctx context.Context, now time.Time) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	default:
		timer := time.NewTimer(p.options.ConnWait)
		defer timer.Stop()
		select {
		case p.slots <- struct{}{}:
		case <-timer.C:
			return nil, errBusy
		case <-ctx.Done():
			return nil, gate.UpstreamTimeout
		}
	}
	for c := p.pop(); c != nil; c = p.pop() {
		if now.Sub(c.since) < p.options.IdleLife && quiet(c.raw) {
			c.wrote = 0
			return c, nil
		}
		_ = c.Close() // of no more use
	}
	c, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
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

// give takes a connection back. It is kept only if the last answer ended where it said.
func (p *pool) give(c *conn, keep bool, now time.Time) {
	if keep && c.r.Buffered() == 0 {
		c.since = now
		p.idleMu.Lock()
		if !p.closed {
			p.idle = append(p.idle, c)
			c = nil
		}
		p.idleMu.Unlock()
	}
	if c != nil {
		_ = c.Close() // of no more use
	}
	<-p.slots
}

// prune closes what has been idle for too long; all of it if the pool is done.
func (p *pool) prune(now time.Time, all bool) {
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	p.closed = p.closed || all
	kept := p.idle[:0]
	for _, c := range p.idle {
		if !all && now.Sub(c.since) < p.options.IdleLife {
			kept = append(kept, c)
			continue
		}
		_ = c.Close() // of no more use
	}
	clear(p.idle[len(kept):])
	p.idle = kept
}

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 4

// dial resolves the name once and connects to an address that was looked at, so that no
// second answer of the DNS can lead elsewhere.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.options.DialTimeout)
	defer cancel()
	addresses, err := p.resolve(ctx)
	if err != nil {
		return nil, err
	}
	var last error
	for i, a := range addresses {
		raw, err := p.connect(ctx, a, len(addresses)-i)
		if err != nil {
			last = err
			continue
		}
		return p.wrap(ctx, raw)
	}
	return nil, gate.Refuse("D504CO", "Backend service connect failed `"+reason(last)+"`")
}

func (p *pool) resolve(ctx context.Context) ([]netip.Addr, error) {
	var all []netip.Addr
	if a, err := netip.ParseAddr(p.host); err == nil {
		all = []netip.Addr{a}
	} else if all, err = p.options.Resolve(ctx, p.host); err != nil || len(all) == 0 {
		return nil, gate.Refuse("D504RE", "Domain `"+p.host+"` resolve failed")
	}
	if p.options.AllowPrivate {
		return all[:min(len(all), maxAddresses)], nil
	}
	for _, a := range all {
		// One bad address among good ones is a name that is being turned around.
		if !control.PublicAddress(a) {
			return nil, gate.Refuse("D504IL", "Domain `"+p.host+"` resolve to illegal address `"+a.String()+"`")
		}
	}
	return all[:min(len(all), maxAddresses)], nil
}

// connect gives each address that is still to be tried a fair part of the time left.
func (p *pool) connect(ctx context.Context, a netip.Addr, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), p.port))
}

func (p *pool) wrap(ctx context.Context, raw net.Conn) (*conn, error) {
	c := &conn{Conn: raw}
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
	c.r = bufio.NewReaderSize(c, readBuffer)
	c.w = bufio.NewWriterSize(c, writeBuffer)
	return c, nil
}

// Buffers of a connection. An answer's head must fit the first.
const (
	readBuffer  = 16 << 10
	writeBuffer = 4 << 10
)

// reason says in a word why there is no connection; addresses and the like stay with us.
func reason(err error) string {
	switch {
	case err == nil:
		return "no address"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
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
	case isTimeout(err):
		return "timeout"
	}
	return "handshake"
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
