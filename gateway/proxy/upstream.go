package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// Way is what a route's calls need to know of where they go. It is made by Prepare.
type Way struct {
	up      *upstream
	timeout time.Duration // until the answer's head
	broken  *gate.Refusal // the route cannot be served
}

// Plain reports whether an event loop may drive the way's calls by itself: one target over
// plain HTTP/1.1, and nothing that is tried again.
func (w *Way) Plain() bool {
	return w.broken == nil && len(w.up.targets) == 1 && w.up.targets[0].pool.tls == nil && !w.up.h2 && w.up.retry == (control.Retry{}) &&
		w.up.outlier == nil && w.up.health == nil
}

// Timeout is how long an answer's head is waited for.
func (w *Way) Timeout() time.Duration { return w.timeout }

// upstream is the targets of an Upstream, or the one server of a route.
type upstream struct {
	targets []*target
	spread  control.Spread
	hashOn  string
	h2      bool
	health  *control.Health
	outlier *control.Outlier
	retry   control.Retry
	idle    time.Duration // between two reads of a body

	mu   sync.Mutex // guards turns: the current weights of round robin
	turn []int
}

// Prepare makes of a route what forwarding needs on each call. via is the route's Upstream,
// nil if it names none. Routes that lead to the same place share what is there.
func (p *Proxy) Prepare(r *control.Route, via *control.Upstream) *Way {
	w := &Way{timeout: r.Timeout}
	if w.timeout <= 0 {
		w.timeout = DefaultTimeout
	}
	if via == nil {
		if r.Via != "" {
			w.broken = gate.Refuse("X500AM", "Invalid Api Meta `upstream`")
			return w
		}
		via = &control.Upstream{Targets: []control.Target{{URL: r.Upstream}}}
	}
	text, err := json.Marshal(via)
	if err != nil {
		w.broken = gate.Refuse("X500AM", "Invalid Api Meta `upstream`")
		return w
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.up = p.upstreams[string(text)].Value(); w.up != nil {
		return w
	}
	if w.up, err = p.upstream(via); err != nil {
		w.broken = gate.Refuse("X500AM", "Invalid Api Meta `upstream`")
		return w
	}
	kept(p.upstreams, string(text), func() *upstream { return w.up })
	return w
}

// upstream is called with the lock held.
func (p *Proxy) upstream(via *control.Upstream) (*upstream, error) {
	u := &upstream{spread: via.Spread, hashOn: via.HashOn, health: via.Health, outlier: via.Outlier, retry: via.Retry,
		h2: via.Protocol == "h2" || via.Protocol == "grpc", idle: via.IdleTimeout, turn: make([]int, len(via.Targets))}
	if u.idle <= 0 {
		u.idle = DefaultIdleTimeout
	}
	for _, t := range via.Targets {
		at, err := url.Parse(t.URL)
		if err != nil || at.Hostname() == "" || at.Scheme != "http" && at.Scheme != "https" {
			return nil, errors.New("proxy: a target is no http or https address")
		}
		pool, err := p.pool(at, via)
		if err != nil {
			return nil, err
		}
		u.targets = append(u.targets, &target{pool: pool, host: at.Host, base: strings.TrimSuffix(at.EscapedPath(), "/"),
			weight: max(1, t.Weight), backup: t.Backup, key: sha256.Sum256([]byte(t.URL))})
	}
	if len(u.targets) == 0 {
		return nil, errors.New("proxy: no target")
	}
	return u, nil
}

// pool is the pool of a place: scheme, host, port, and how it is spoken to. It is called
// with the lock held.
func (p *Proxy) pool(at *url.URL, via *control.Upstream) (*pool, error) {
	port := at.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[at.Scheme]
	}
	key := at.Scheme + "://" + net.JoinHostPort(at.Hostname(), port)
	b := bounds{conns: via.MaxConns, queue: via.MaxQueue, wait: via.QueueTimeout, connect: via.ConnectTimeout, idle: via.KeepIdle, life: via.KeepLife}
	b.fill(&p.options)
	how, err := json.Marshal([]any{via.TLS, via.Protocol, b.conns, b.queue, b.wait, b.connect, b.idle, b.life})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(how)
	key += " " + hex.EncodeToString(sum[:8])
	if found := p.pools[key].Value(); found != nil {
		return found, nil
	}
	made := &pool{options: &p.options, bounds: b, host: at.Hostname(), port: port, scheme: at.Scheme, h2: via.Protocol == "h2" || via.Protocol == "grpc"}
	made.slots, made.lent = make(chan struct{}, b.conns), map[*conn]struct{}{}
	if at.Scheme == "https" {
		if made.tls, err = p.tls(at.Hostname(), via.TLS, made.h2); err != nil {
			return nil, err
		}
	}
	return kept(p.pools, key, func() *pool { return made }), nil
}

// tls is how a target is believed to be who it is. The certificate is always checked, and
// against the name of the configuration (S8).
func (p *Proxy) tls(host string, t *control.UpstreamTLS, h2 bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.options.TLS != nil {
		c = p.options.TLS.Clone()
	}
	c.ServerName, c.NextProtos = host, []string{"http/1.1"}
	if h2 {
		c.NextProtos = []string{"h2"}
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	if t == nil {
		return c, nil
	}
	if t.Name != "" {
		c.ServerName = t.Name
	}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("proxy: the upstream's CA holds no certificate")
		}
	}
	if t.Cert != "" {
		if p.options.Secret == nil {
			return nil, errors.New("proxy: there are no secrets here")
		}
		key, err := p.options.Secret(t.Key)
		if err != nil {
			return nil, err
		}
		own, err := tls.X509KeyPair([]byte(t.Cert), key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{own}
	}
	if len(t.Pin) > 0 {
		pins := slices.Clone(t.Pin)
		c.ClientSessionCache = nil // a resumed session shows no certificate to compare
		c.VerifyConnection = func(s tls.ConnectionState) error {
			for _, cert := range s.PeerCertificates {
				sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
				if slices.Contains(pins, base64.StdEncoding.EncodeToString(sum[:])) {
					return nil
				}
			}
			return errPin
		}
	}
	return c, nil
}

var errPin = errors.New("proxy: none of the upstream's keys is the pinned one")
