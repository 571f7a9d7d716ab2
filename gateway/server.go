package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/h2"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/route"
	"github.com/souk-market/souk/gateway/tally/memory"
	"github.com/souk-market/souk/gateway/throttle"
	"github.com/souk-market/souk/gateway/wire"
)

// quotas counts units: each Hold is settled or voided exactly once.
type quotas interface {
	Reserve(control.AppID, control.ProductID) (gate.Hold, error)
	// Warm is Reserve where that waits for nothing; false: it would have to.
	Warm(control.AppID, control.ProductID) (gate.Hold, bool)
	// Settle makes the unit a charged one, durably. After an error the unit is back.
	Settle(gate.Hold, *control.CallRecord) error
	Void(gate.Hold)
	// Reverse undoes a Settle, by a second record.
	Reverse(gate.Hold, *control.CallRecord) error
}

// notes keeps a record of calls that cost nothing; those that do are kept by Settle.
type notes interface{ Note(*control.CallRecord) }

// Server is a gateway: a listener for callers, and a control.Plane for the console.
type Server struct {
	options Options
	log     *zap.Logger
	access  *zap.Logger
	now     func() time.Time
	clocked bool // now is a clock of somebody's own

	routes   route.Table
	auth     *auth.Gate
	nonces   *memory.Nonces
	throttle throttle.Gate
	quota    quotas
	journal  notes
	proxy    *proxy.Proxy
	meter    *ops.Meter
	refusals *ops.Refusals
	tracer   *ops.Tracer
	shared   shared
	upstream func(control.UpstreamID) *control.Upstream // nil: there are none
	secret   func(control.SecretID) ([]byte, error)

	http    *fasthttp.Server
	bounds  wire.Bounds   // of heads
	turns   sync.Pool     // of *turn
	places  chan struct{} // of callers' connections
	sweep   *sweeper
	clock   atomic.Int64 // the sweeper's milliseconds
	dropped atomic.Int64 // when idle connections were closed for their descriptors, likewise

	plane   control.Plane
	present func() *ledger.Snapshot // the configuration; nil: there is no ledger
	closing sync.Once
	closers []func(context.Context) error
	checks  []check // what readiness asks beside the snapshot

	listenMu  sync.Mutex // guards listeners; draining is set under it
	listeners []*listener

	buildMu   sync.Mutex // one snapshot after the other; guards number
	number    int64
	loaded    atomic.Bool
	draining  atomic.Bool // no new connections; answers say that they are the last
	graceOver atomic.Bool // and idle connections end
	shedding  atomic.Bool // memory is short

	panics     atomic.Int64
	handshakes atomic.Int64 // that failed
	two        *h2.Front    // nil: there is no TLS here

	loops []*loop

	life context.Context // of calls; it ends when draining took too long
	kill context.CancelFunc
}

// assemble puts the row together.
func assemble(o Options, accounts auth.Accounts, quota quotas, journal notes) *Server {
	o = o.withDefaults()
	var s *Server
	secret := func(id control.SecretID) ([]byte, error) { return s.secret(id) }
	nonces := memory.New(memory.Options{Budget: o.NonceBudget, Share: o.NonceShare})
	s = &Server{
		options: o, log: o.Log, access: o.AccessLog, now: o.Now, clocked: !o.real, nonces: nonces,
		quota: quota, journal: journal,
		auth: auth.New(accounts, nonces, o.Now()),
		proxy: proxy.New(proxy.Options{
			AllowPrivate: o.AllowPrivateUpstreams, MaxConns: o.MaxUpstreamConns, TLS: o.UpstreamTLS,
			Secret: secret,
		}),
		meter: ops.NewMeter(), refusals: ops.NewRefusals(0), tracer: o.Tracer,
		shared: shared{values: map[string]*sharedValue{}},
		secret: func(control.SecretID) ([]byte, error) { return nil, errNoSecrets },
		bounds: wire.Bounds{Head: o.MaxHead},
		turns:  sync.Pool{New: newTurn},
		places: newPlaces(o.MaxConns),
	}
	s.life, s.kill = context.WithCancel(context.Background())
	s.http = &fasthttp.Server{
		Handler:               s.handle,
		Logger:                quiet{},
		Concurrency:           o.MaxConns + 1, // the listener bounds it first
		ReadBufferSize:        1 << 10,        // of the guard's request lines
		WriteBufferSize:       1 << 10,
		ReduceMemoryUsage:     true, // an idle connection has no buffers
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
		NoDefaultContentType:  true,
		SecureErrorLogMessage: true,
	}
	s.meter.Counter("souk_gateway_panics_total", "Calls that ended in a panic, each answered with 500.", func() float64 { return float64(s.panics.Load()) })
	s.sweep = newSweeper(s)
	if o.Certificates != nil {
		s.two = h2.New(rowOfTwo{s}, h2.Options{Bounds: s.bounds, Idle: o.IdleTimeout, WriteStall: o.WriteTimeout})
		s.meter.Counter("souk_gateway_handshakes_failed_total", "TLS handshakes of callers that failed.", func() float64 { return float64(s.handshakes.Load()) })
		s.meter.Gauge("souk_gateway_certificate_seconds", "Until the first certificate ends.", func() float64 { return o.Certificates.NextExpiry().Seconds() })
	}
	n := o.Loops
	if n == 0 {
		n = processors()
	}
	if err := s.startLoops(n); err != nil {
		s.log.Warn("no event loops; each connection gets a goroutine", zap.Error(err))
	}
	return s
}

// processors is how many the runtime was given; from the first call on it has one more.
//
// Why: a loop waits in a system call most of the time. The runtime takes the processor away
// from who does that, at once if it has no other to spare, and gives it back when the call
// returns: that cost 20 us of the 67 that a call took at 5,000 a second on one core.
var processors = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
})

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
	s.meter.Renew()
	s.routes.Build(groups, routes, s.prepare)
	s.meter.Trim()
	s.loaded.Store(true)
}

// Serve answers callers until Close, and closes l. It may be called for several listeners;
// after Close it returns at once.
func (s *Server) Serve(l net.Listener) error {
	own := newListener(l, s.places, s.options.MaxConnsPerIP)
	if !s.open(own) {
		return l.Close()
	}
	if s.serveLoops(own) {
		return nil
	}
	return own.each(s.host)
}

// host lets fasthttp serve a connection, behind the guard.
func (s *Server) host(n net.Conn) {
	_, secure := n.(*tls.Conn)
	s.hostTurn(&conn{Conn: n, s: s, peer: peerOf(n), secure: secure}, nil)
}

// hostTurn goes on with the call t, if there is one, and then serves the connection; true:
// it went back to the loop that it came from.
func (s *Server) hostTurn(c *conn, t *turn) bool {
	// Before the sweeper sees it: to one that was never in a phase it would be very late.
	switch {
	case t != nil:
		c.enter(phaseWork)
	case c.r < c.w:
		c.enter(phaseHead)
	default:
		c.enter(phaseIdle)
	}
	if !s.sweep.add(c) {
		if t != nil {
			t.lost()
		}
		_ = c.Conn.Close() // we are closing
		return false
	}
	if t != nil {
		t.resume()
	}
	// Its error is the connection's, and was answered if it could be.
	_ = s.http.ServeConn(c)
	return c.gone
}

func (s *Server) forget(c *conn) { s.sweep.remove(c) }

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

// Give hands what only this process knows, the nonces that were used, to the process that
// takes over, and asks it about further ones. conn is kept until one of the two ends.
func (s *Server) Give(conn net.Conn) error { return s.nonces.Give(conn, s.auth.From()) }

// Take takes what the process before gives. It is called before Serve.
func (s *Server) Take(conn net.Conn) error {
	since, err := s.nonces.Take(conn)
	if err != nil {
		return err
	}
	s.auth.Since(since)
	go s.nonces.Serve(conn) // ends with the other process, or with this one
	return nil
}

// Meter counts the calls, for whoever sends the numbers elsewhere.
func (s *Server) Meter() *ops.Meter { return s.meter }

// Ops is the inner side: health, readiness, metrics, profiles, the table of routes, and why
// a call was refused. It must not be public.
func (s *Server) Ops() http.Handler {
	inner := ops.Inner{
		Meter: s.meter, Refusals: s.refusals, Purge: s.purge, Level: s.options.Level, Token: s.options.OpsToken,
		Ready: func(ctx context.Context) []string {
			var reasons []string
			if err := s.Ready(ctx); err != nil {
				for _, e := range split(err) {
					reasons = append(reasons, e.Error())
				}
			}
			return reasons
		},
	}
	if s.present != nil {
		inner.Configuration = func() (int64, []*control.Group, []*control.Route) {
			n := s.present()
			return n.Number, n.Groups, n.Routes
		}
	}
	if s.plane != nil {
		inner.Find = func(ctx context.Context, request string) (control.CallRecord, bool) {
			id, err := control.ParseRequestID(request)
			if err != nil {
				return control.CallRecord{}, false
			}
			list, err := s.plane.Calls(ctx, control.CallFilter{Request: id, Max: 1})
			if err != nil || len(list) == 0 {
				return control.CallRecord{}, false
			}
			return list[0], true
		}
	}
	return inner.Handler()
}

func split(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// Errors of Ready.
var (
	errNotLoaded      = errors.New("no snapshot of the configuration yet")
	errDraining       = errors.New("draining")
	errNoLedger       = errors.New("the ledger takes no writes")
	errOldConfig      = errors.New("the configuration may be old, as the ledger cannot be read")
	errNoCertificates = errors.New("gateway: there are no certificates to serve TLS with")

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

// drain stops accepting and lets the calls that are under way end. Kept connections are told
// with their next answer that it is the last; after the grace, those that are idle end.
func (s *Server) drain(ctx context.Context) error {
	s.listenMu.Lock()
	s.draining.Store(true)
	for _, l := range s.listeners {
		_ = l.Close() // it may be closed already
	}
	s.listenMu.Unlock()
	two := make(chan error, 1)
	go func() { two <- s.drainTwo(ctx) }()
	err := errors.Join(s.sweep.drain(ctx, s.options.Grace), <-two)
	s.stopLoops()
	s.sweep.close()
	s.proxy.Close()
	if err == nil { // otherwise a call may still be under way
		s.shared.close()
	}
	return err
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
