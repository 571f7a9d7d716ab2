// Package proxy forwards a call to the seller's server and brings back the answer.
//
// One call is sent once. It is sent again only if nothing of it had left: a kept
// connection turned out to be dead before the first byte. The path goes out as it came in,
// bodies are bytes, and what belongs to a connection stays on it. Whether a call may be
// made, and what it costs, is decided elsewhere.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// Defaults of Options.
const (
	DefaultMaxConns    = 512
	DefaultConnWait    = time.Second
	DefaultIdleLife    = 4 * time.Second // below the keep-alive of common servers: 5 s and more
	DefaultMaxAnswer   = 32 << 20
	DefaultDialTimeout = 5 * time.Second
	DefaultTimeout     = 10 * time.Second // of a route that names none
)

// Options bound the proxy. The zero value has usable defaults and the strict address policy.
type Options struct {
	AllowPrivate bool          // upstreams may have addresses that are not public
	MaxConns     int           // connections to one upstream; 0: DefaultMaxConns
	ConnWait     time.Duration // how long a call waits for one; 0: DefaultConnWait
	IdleLife     time.Duration // of a kept connection; 0: DefaultIdleLife
	MaxAnswer    int           // bytes of an answer's body; 0: DefaultMaxAnswer
	DialTimeout  time.Duration // 0: DefaultDialTimeout
	// TLS is the base of every upstream's configuration; the name is the upstream's.
	TLS *tls.Config
	// Resolve looks up a name; nil: the system's resolver.
	Resolve func(context.Context, string) ([]netip.Addr, error)
}

// Proxy keeps connections to upstreams. Close ends it.
type Proxy struct {
	options Options
	answers sync.Pool // of *fasthttp.Response

	poolsMu    sync.Mutex // guards pools and generation
	pools      map[string]*pool
	generation uint64

	stop chan struct{}
	done chan struct{}
}

// New starts the proxy's one goroutine, which closes idle connections.
func New(o Options) *Proxy {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.ConnWait == 0 {
		o.ConnWait = DefaultConnWait
	}
	if o.IdleLife == 0 {
		o.IdleLife = DefaultIdleLife
	}
	if o.MaxAnswer == 0 {
		o.MaxAnswer = DefaultMaxAnswer
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	p := &Proxy{
		options: o,
		answers: sync.Pool{New: func() any { return new(fasthttp.Response) }},
		pools:   make(map[string]*pool),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	go p.prune()
	return p
}

func (p *Proxy) prune() {
	defer close(p.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			for _, pool := range p.all() {
				pool.prune(now, false)
			}
		}
	}
}

func (p *Proxy) all() []*pool {
	p.poolsMu.Lock()
	defer p.poolsMu.Unlock()
	list := make([]*pool, 0, len(p.pools))
	for _, pool := range p.pools {
		list = append(list, pool)
	}
	return list
}

// Close closes all idle connections. Calls that are under way end by themselves.
func (p *Proxy) Close() {
	close(p.stop)
	<-p.done
	for _, pool := range p.all() {
		pool.prune(time.Time{}, true)
	}
}

// upstream is what a route's calls need to know of their destination.
type upstream struct {
	pool    *pool
	host    string  // the header
	base    string  // before the path, without a last slash
	pieces  []piece // of UpstreamPath; nil: the caller's path
	timeout time.Duration
	broken  *gate.Refusal // the route cannot be served
}

// piece is a part of an UpstreamPath: text, or the value of a parameter.
type piece struct{ text, name string }

// Prepare makes of a route what Forward needs on each call. It is a route.Preparer.
func (p *Proxy) Prepare(r *control.Route) any {
	u := &upstream{timeout: r.Timeout}
	if u.timeout <= 0 {
		u.timeout = DefaultTimeout
	}
	at, err := url.Parse(r.Upstream)
	if err != nil || at.Hostname() == "" || at.Scheme != "http" && at.Scheme != "https" {
		u.broken = gate.Refuse("X500AM", "Invalid Api Meta `upstream`")
		return u
	}
	u.host = at.Host
	u.base = strings.TrimSuffix(at.EscapedPath(), "/")
	if r.UpstreamPath != "" {
		u.pieces = split(r.UpstreamPath)
	}
	u.pool = p.pool(at)
	return u
}

// split cuts "/a/[b]/c" at its names.
func split(path string) []piece {
	var list []piece
	for path != "" {
		open := strings.IndexByte(path, '[')
		if open < 0 {
			return append(list, piece{text: path})
		}
		end := strings.IndexByte(path[open:], ']')
		if end < 0 {
			return append(list, piece{text: path})
		}
		list = append(list, piece{text: path[:open]}, piece{name: path[open+1 : open+end]})
		path = path[open+end+1:]
	}
	return list
}

func (p *Proxy) pool(at *url.URL) *pool {
	port := at.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[at.Scheme]
	}
	key := at.Scheme + "://" + net.JoinHostPort(at.Hostname(), port)
	p.poolsMu.Lock()
	defer p.poolsMu.Unlock()
	found := p.pools[key]
	if found == nil {
		found = &pool{options: &p.options, host: at.Hostname(), port: port, slots: make(chan struct{}, p.options.MaxConns)}
		if at.Scheme == "https" {
			found.tls = &tls.Config{MinVersion: tls.VersionTLS12}
			if p.options.TLS != nil {
				found.tls = p.options.TLS.Clone()
			}
			found.tls.ServerName = at.Hostname()
			found.tls.NextProtos = []string{"http/1.1"}
		}
		p.pools[key] = found
	}
	found.generation = p.generation
	return found
}

// Renew is called before a table is built, and Trim after it was swapped in: upstreams that
// no route of it has are let go.
func (p *Proxy) Renew() {
	p.poolsMu.Lock()
	p.generation++
	p.poolsMu.Unlock()
}

// Trim lets go of upstreams that were not prepared since Renew.
func (p *Proxy) Trim() {
	p.poolsMu.Lock()
	var gone []*pool
	for key, pool := range p.pools {
		if pool.generation != p.generation {
			gone = append(gone, pool)
			delete(p.pools, key)
		}
	}
	p.poolsMu.Unlock()
	for _, pool := range gone {
		pool.prune(time.Time{}, true)
	}
}

// maxStale bounds how many dead connections one call may meet.
const maxStale = 3

// Forward sends the call and writes the seller's answer into to. A *gate.Refusal means
// that there is none.
func (p *Proxy) Forward(c *gate.Call, to *fasthttp.Response) error {
	u, ok := c.Prepared.(*upstream)
	if !ok {
		return errors.New("proxy: the route was not prepared")
	}
	if u.broken != nil {
		return u.broken
	}
	answer := p.answers.Get().(*fasthttp.Response)
	defer func() {
		answer.Reset()
		p.answers.Put(answer)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), u.timeout)
	defer cancel()
	for tries := 0; ; tries++ {
		again, err := p.try(ctx, c, u, answer)
		if err == nil {
			copyAnswer(to, answer)
			return nil
		}
		if !again || tries >= maxStale {
			return err
		}
	}
}

var tooLarge = gate.Refuse("N502RE", "The response of the backend is too large")

// try sends the call once. It may be sent again if not one byte of it was taken.
func (p *Proxy) try(ctx context.Context, c *gate.Call, u *upstream, answer *fasthttp.Response) (again bool, err error) {
	conn, err := u.pool.take(ctx, time.Now())
	if err != nil {
		return false, err
	}
	keep := false
	defer func() { u.pool.give(conn, keep, time.Now()) }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return true, gate.AnswerBroken
	}
	writeErr := write(conn, c, u)
	if writeErr != nil {
		if isTimeout(writeErr) {
			return false, gate.UpstreamTimeout
		}
		if conn.wrote == 0 {
			return true, gate.AnswerBroken
		}
		// The upstream may have answered before it had heard all, and closed.
	}
	answer.Reset()
	answer.Header.DisableNormalizing()
	answer.Header.SetNoDefaultContentType(true)
	answer.SkipBody = c.Request.IsHead()
	switch err := answer.ReadLimitBody(conn.r, p.options.MaxAnswer); {
	case err == nil:
	case isTimeout(err):
		return false, gate.UpstreamTimeout
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return false, tooLarge
	default:
		return false, gate.AnswerBroken
	}
	if answer.StatusCode() < 200 {
		return false, gate.AnswerBroken // it switched protocols, which nobody asked for
	}
	keep = writeErr == nil && !answer.ConnectionClose()
	return false, nil
}
