package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/route"
	"github.com/souk-market/souk/gateway/tally/memory"
	"github.com/souk-market/souk/gateway/throttle"
)

// quotas counts units: each Hold is settled or voided exactly once.
type quotas interface {
	Reserve(control.AppID, control.ProductID) (gate.Hold, error)
	// Settle makes the unit a charged one, durably.
	Settle(gate.Hold, *control.CallRecord) error
	Void(gate.Hold)
}

// notes keeps a record of calls that cost nothing; those that do are kept by Settle.
type notes interface{ Note(*control.CallRecord) }

// Server is a gateway: a listener for callers, and a control.Plane for the console.
type Server struct {
	options Options
	log     *zap.Logger
	access  *zap.Logger
	now     func() time.Time

	routes   route.Table
	auth     *auth.Gate
	throttle throttle.Gate
	quota    quotas
	journal  notes
	proxy    *proxy.Proxy
	meter    *ops.Meter

	http  *fasthttp.Server
	read  func(*gate.Call) error
	calls sync.Pool // of *gate.Call
	conns chan struct{}

	plane   control.Plane
	closing sync.Once
	closers []func(context.Context) error
	checks  []check // what readiness asks beside the snapshot

	listenMu  sync.Mutex // guards listeners; draining is set under it
	listeners []*listener

	buildMu  sync.Mutex // one snapshot after the other; guards number
	number   int64
	loaded   atomic.Bool
	draining atomic.Bool
}

// assemble puts the row together.
func assemble(o Options, accounts auth.Accounts, quota quotas, journal notes) *Server {
	o = o.withDefaults()
	s := &Server{
		options: o, log: o.Log, access: o.AccessLog, now: o.Now,
		quota: quota, journal: journal,
		auth: auth.New(accounts, memory.New(memory.Options{Budget: o.NonceBudget, Share: o.NonceShare}), o.Now()),
		proxy: proxy.New(proxy.Options{
			AllowPrivate: o.AllowPrivateUpstreams, MaxConns: o.MaxUpstreamConns, MaxAnswer: o.MaxAnswer, TLS: o.UpstreamTLS,
		}),
		meter: ops.NewMeter(),
		read:  read,
		calls: sync.Pool{New: func() any { return new(gate.Call) }},
		conns: make(chan struct{}, o.MaxConns),
	}
	s.http = &fasthttp.Server{
		Handler:                       s.serve,
		ErrorHandler:                  s.broken,
		ExpectHandler:                 s.expect,
		Logger:                        quiet{},
		ReadBufferSize:                o.MaxHead,
		ReadTimeout:                   o.ReadTimeout,
		WriteTimeout:                  o.WriteTimeout,
		IdleTimeout:                   o.IdleTimeout,
		Concurrency:                   o.MaxConns + 1, // the listener bounds it first, without an answer of its own
		MaxConnsPerIP:                 o.MaxConnsPerIP,
		StreamRequestBody:             true, // so that the gates come before the body; see read
		MaxRequestBodySize:            bodyPrefetch,
		DisableHeaderNamesNormalizing: true,
		DisablePreParseMultipartForm:  true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		SecureErrorLogMessage:         true,
		CloseOnShutdown:               true,
	}
	return s
}

// bodyPrefetch is how much of a body is read before the row begins. The limit that counts
// is the route's.
const bodyPrefetch = 8 << 10

// quiet drops the HTTP server's own lines, which may hold bytes of requests.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// build makes the table of a snapshot the one that calls are matched with. Older snapshots
// than the present one are let pass.
func (s *Server) build(number int64, groups []*control.Group, routes []*control.Route) {
	s.buildMu.Lock()
	defer s.buildMu.Unlock()
	if s.loaded.Load() && number < s.number {
		return
	}
	s.number = number
	s.proxy.Renew()
	s.throttle.Build(routes)
	s.routes.Build(groups, routes, s.prepare)
	s.proxy.Trim()
	s.loaded.Store(true)
}

// Serve answers callers until Close, and closes l. It may be called for several listeners;
// after Close it returns at once.
func (s *Server) Serve(l net.Listener) error {
	own := &listener{Listener: l, conns: s.conns, shut: make(chan struct{})}
	if !s.open(own) {
		return l.Close()
	}
	return s.http.Serve(own)
}

// open makes a listener one that drain will close, unless that was called already. fasthttp
// does not know of a listener before its own Serve has begun, so a Close that came between
// would close nothing, and Serve would accept for ever.
func (s *Server) open(l *listener) bool {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

// Ops is the inner side: health, readiness, metrics, profiles. It must not be public.
func (s *Server) Ops() http.Handler {
	return ops.Handler(s.meter, func(ctx context.Context) []string {
		var reasons []string
		if err := s.Ready(ctx); err != nil {
			for _, e := range split(err) {
				reasons = append(reasons, e.Error())
			}
		}
		return reasons
	})
}

func split(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// Errors of Ready.
var (
	errNotLoaded = errors.New("no snapshot of the configuration yet")
	errDraining  = errors.New("draining")
	errNoLedger  = errors.New("the ledger takes no writes")
	errOldConfig = errors.New("the configuration may be old, as the ledger cannot be read")
	errNoJournal = errors.New("charged calls cannot be written down")
)

// check is something without which calls cannot be answered. What readiness tells is says;
// the error itself is for the log, as it may name files.
type check struct {
	says error
	ask  func(context.Context) error
}

// checkFor bounds how long readiness waits for an answer.
const checkFor = 2 * time.Second

// drain stops accepting and waits for the calls that are under way.
func (s *Server) drain(ctx context.Context) error {
	s.listenMu.Lock()
	s.draining.Store(true)
	for _, l := range s.listeners {
		_ = l.Close() // it may be closed already
	}
	s.listenMu.Unlock()
	err := s.http.ShutdownWithContext(ctx)
	s.proxy.Close()
	return err
}

// listener accepts no more connections than there are places; further ones wait in the
// kernel's queue, and get neither an answer nor memory.
type listener struct {
	net.Listener
	conns chan struct{}
	once  sync.Once
	shut  chan struct{}
}

// Accept waits for a place and then for a caller; Close ends both.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.conns <- struct{}{}:
	case <-l.shut:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.conns
		return nil, err
	}
	return &place{Conn: c, free: sync.OnceFunc(func() { <-l.conns })}, nil
}

// Close may be called again, as drain and the HTTP server both do.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.shut)
		err = l.Listener.Close()
	})
	return err
}

// place is a connection that gives its place back when it is closed.
type place struct {
	net.Conn
	free func()
}

func (p *place) Close() error {
	p.free()
	return p.Conn.Close()
}

// Ready says what is missing before calls can be answered; nil: nothing.
func (s *Server) Ready(ctx context.Context) error {
	var missing []error
	if !s.loaded.Load() {
		missing = append(missing, errNotLoaded)
	}
	if s.draining.Load() {
		missing = append(missing, errDraining)
	}
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	for _, c := range s.checks {
		if err := c.ask(ctx); err != nil {
			missing = append(missing, c.says)
			s.log.Warn("not ready", zap.Error(err))
		}
	}
	return errors.Join(missing...)
}
