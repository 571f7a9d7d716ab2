// Package proxy forwards a call to the seller's server and brings back the answer: it
// chooses the server, has the connections, and makes sure that an answer belongs to exactly
// one call.
//
// A call is sent once. It is sent again only if nothing of it can have been processed (no
// connection could be made, or a kept one was found dead before the first byte), or if the
// seller said that his routes may be asked again. What goes out is what came in, byte for
// byte, less what belongs to a connection and what is not for the seller; bodies stream
// both ways and are bytes. Whether a call may be made, and what it costs, is decided
// elsewhere.
//
// Why no ready client: a connection whose answer was not read to its exact end, or that said
// a byte too many, must never carry another call, and a head must go out as it came. See
// design F17.
package proxy

import (
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"time"
	"weak"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/wire"
)

// Defaults of Options and of control.Upstream.
const (
	DefaultMaxConns       = 512
	DefaultMaxQueue       = 1024
	DefaultQueueTimeout   = time.Second
	DefaultConnectTimeout = 3 * time.Second
	DefaultKeepIdle       = 4 * time.Second // below the keep-alive of common servers: 5 s and more
	DefaultKeepLife       = 5 * time.Minute
	DefaultIdleTimeout    = time.Minute
	DefaultTimeout        = 10 * time.Second // of a route that names none
	DefaultMaxHead        = 64 << 10         // of an answer; security.md N7
)

// Options bound the proxy. The zero value has usable defaults and the strict address policy.
type Options struct {
	AllowPrivate bool             // upstreams may have addresses that are not public
	Deny         []netip.AddrPort // our own listeners, which nobody may be sent to
	MaxConns     int              // connections to one target; 0: DefaultMaxConns
	QueueTimeout time.Duration    // how long a call waits for one; 0: DefaultQueueTimeout
	// TLS is the base of every upstream's configuration; the name is the upstream's.
	TLS *tls.Config
	// Resolve looks up a name, and says for how long the answer is good (0: it is not known).
	// nil: the system's resolver.
	Resolve func(context.Context, string) ([]netip.Addr, time.Duration, error)
	// Secret is the value of a secret that an upstream names.
	Secret func(control.SecretID) ([]byte, error)
	Now    func() time.Time
}

// Proxy keeps connections to upstreams. Close ends it.
type Proxy struct {
	options Options
	bounds  wire.Bounds // of answers' heads

	// What routes point to is kept here weakly: a pool or a group of targets that no route
	// has any more goes with the routes that had it.
	mu        sync.Mutex // guards pools and upstreams
	pools     map[string]weak.Pointer[pool]
	upstreams map[string]weak.Pointer[upstream]

	stop   chan struct{}
	done   sync.WaitGroup
	probes chan struct{} // places for probes under way
}

// New starts the proxy's one goroutine, which closes idle connections and probes targets.
func New(o Options) *Proxy {
	if o.Resolve == nil {
		o.Resolve = Lookup
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Proxy{options: o, bounds: wire.Bounds{Head: DefaultMaxHead, Fields: 512},
		pools: map[string]weak.Pointer[pool]{}, upstreams: map[string]weak.Pointer[upstream]{},
		stop: make(chan struct{}), probes: make(chan struct{}, maxProbes)}
	p.done.Go(p.tend)
	return p
}

// tend does once a second what nobody waits for.
func (p *Proxy) tend() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			now := p.options.Now()
			for _, pool := range p.allPools() {
				pool.prune(now, false)
			}
			for _, u := range p.allUpstreams() {
				u.probe(p, now)
			}
		}
	}
}

// Bounds are those of answers' heads.
func (p *Proxy) Bounds() wire.Bounds { return p.bounds }

func (p *Proxy) allPools() []*pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return alive(p.pools)
}

func (p *Proxy) allUpstreams() []*upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return alive(p.upstreams)
}

// alive lists what is still pointed to by routes, and forgets the rest.
func alive[T any](m map[string]weak.Pointer[T]) []*T {
	var list []*T
	for key, w := range m {
		if v := w.Value(); v != nil {
			list = append(list, v)
		} else {
			delete(m, key)
		}
	}
	return list
}

// kept is the value of a key, made if no route points to one.
func kept[T any](m map[string]weak.Pointer[T], key string, make func() *T) *T {
	if v := m[key].Value(); v != nil {
		return v
	}
	v := make()
	m[key] = weak.Make(v)
	return v
}

// DropIdle closes the idle connections, for the sake of their descriptors.
func (p *Proxy) DropIdle() {
	for _, pool := range p.allPools() {
		pool.dropIdle()
	}
}

// Abort ends what is under way: calls fail as if their sellers had closed.
func (p *Proxy) Abort() {
	for _, pool := range p.allPools() {
		pool.abort()
	}
}

// Close ends all idle connections. Calls that are under way go on.
func (p *Proxy) Close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	p.done.Wait()
	for _, pool := range p.allPools() {
		pool.prune(time.Time{}, true)
	}
}
