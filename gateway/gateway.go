// Package gateway answers callers: it puts the row of gates together, carries each call
// through it, and settles what the call costs before the first byte of the answer leaves.
//
//	head, route, auth, throttle, body, quota, proxy, settle
//
// Each gate is a package of its own that knows none of the others. A gate that turns a
// call away returns a *gate.Refusal; any other error is ours, and says nothing of the
// caller.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/quota"
	"github.com/souk-market/souk/gateway/storage"
)

// Defaults of Options.
const (
	DefaultMaxConns      = 10_000
	DefaultHeadTimeout   = 10 * time.Second
	DefaultBodyTimeout   = 15 * time.Second
	DefaultWriteTimeout  = 30 * time.Second
	DefaultIdleTimeout   = 75 * time.Second
	DefaultTunnelTimeout = 10 * time.Minute
	DefaultGrace         = 300 * time.Millisecond
)

// Options make a gateway. Folder, MasterKey and one of DB and OpenDB are needed; all else has
// defaults.
type Options struct {
	DB *storage.DB
	// OpenDB opens the database where DB is nil. If it fails, the gateway starts with the last
	// good configuration, as far as there is one in Folder, and tries on; it closes what it
	// opened.
	OpenDB func() (*storage.DB, error)
	Folder string // for what the node itself keeps
	// TakeOver lets the gateway start beside another one of the same folder, which goes on
	// with the calls that it has and then ends. Each spends leases of its own.
	TakeOver  bool
	MasterKey []byte // 32 bytes; encrypts AppSecrets at rest

	// AllowPrivateUpstreams lets sellers' servers have addresses that are not public.
	AllowPrivateUpstreams bool
	UpstreamTLS           *tls.Config // base for https upstreams; nil: the system's roots
	MaxUpstreamConns      int         // to one target; 0: proxy.DefaultMaxConns

	// Certificates are what ServeTLS shows; nil: there is no TLS here.
	Certificates *certificate.Store

	// TrustedProxies may say in X-Forwarded-For who calls, and in X-Forwarded-Proto how.
	TrustedProxies []netip.Prefix
	// SecureAppCodes refuses AppCodes that come over plain HTTP, whatever their group says.
	SecureAppCodes bool

	MaxConns      int // connections of callers; 0: DefaultMaxConns
	MaxConnsPerIP int // 0: no bound, as behind a balancer all come from one address
	MaxHead       int // bytes of request line and headers; 0: wire.DefaultHead

	HeadTimeout   time.Duration // from the first byte of a head to its last; 0: DefaultHeadTimeout
	BodyTimeout   time.Duration // without a byte of a body; after it, bodies must also keep a rate; 0: DefaultBodyTimeout
	WriteTimeout  time.Duration // until a caller takes 32 KiB of an answer; 0: DefaultWriteTimeout
	IdleTimeout   time.Duration // between two requests; 0: DefaultIdleTimeout
	TunnelTimeout time.Duration // without a byte either way after an upgrade; 0: DefaultTunnelTimeout
	// Grace is how long, when the gateway closes, kept connections are answered with
	// "Connection: close" before those that are idle end; 0: DefaultGrace.
	Grace time.Duration
	// MemoryLimit is how much memory the process may take before calls are shed with 503;
	// 0: the runtime's own limit (GOMEMLIMIT), if it has one.
	MemoryLimit int64

	// Loops is how many event loops serve plain connections; 0: one for each processor; below
	// 0: none, each connection gets a goroutine.
	Loops int

	NonceBudget int64 // bytes; 0: memory.DefaultBudget
	NonceShare  int64 // an app's part is one in so many; 0: memory.DefaultShare

	Log       *zap.Logger      // nil: none
	Level     *zap.AtomicLevel // of Log, to be changed on the inner side; nil: it cannot be
	AccessLog *zap.Logger      // one line for each call; nil: none
	Tracer    *ops.Tracer      // nil: no traces
	OpsToken  string           // demanded on the inner side; empty: none
	Now       func() time.Time

	real bool // Now is the machine's clock
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&o.HeadTimeout, DefaultHeadTimeout}, {&o.BodyTimeout, DefaultBodyTimeout}, {&o.WriteTimeout, DefaultWriteTimeout},
		{&o.IdleTimeout, DefaultIdleTimeout}, {&o.TunnelTimeout, DefaultTunnelTimeout}, {&o.Grace, DefaultGrace},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.AccessLog == nil {
		o.AccessLog = zap.NewNop()
	}
	if o.Now == nil {
		o.Now, o.real = time.Now, true
	}
	return o
}

// New opens the ledger, books what an earlier process left behind, and is ready to Serve.
// One process may have a Folder at a time.
func New(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	if o.DB == nil && o.OpenDB == nil || o.Folder == "" {
		return nil, errors.New("gateway: needs a database and a folder")
	}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	take := quota.Take
	if o.TakeOver {
		take = quota.TakeBeside
	}
	place, err := take(o.Folder)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, o, place)
	if err != nil {
		return nil, errors.Join(err, place.Release())
	}
	s.closers = append(s.closers, func(context.Context) error { return place.Release() })
	return s, nil
}

// ConfigFile is the name of the last good configuration in Folder.
const ConfigFile = "gateway.config"

func open(ctx context.Context, o Options, p *quota.Place) (*Server, error) {
	var s *Server // that the ledger asks, once there is one
	l, err := ledger.Open(ctx, ledger.Options{DB: o.DB, OpenDB: o.OpenDB, File: filepath.Join(o.Folder, ConfigFile), MasterKey: o.MasterKey, Now: o.Now, Log: o.Log,
		Check: func(c control.Change) error { return s.check(c) }})
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, l.Spool(p.Node), p.Folder, o.Log)
	if err != nil {
		return nil, errors.Join(err, l.Close(ctx))
	}
	q, err := quota.Open(ctx, quota.Options{Ledger: l, Journal: j, Node: p.Node, Flush: j.Flush, Now: o.Now, Log: o.Log})
	if err != nil {
		return nil, errors.Join(err, j.Close(ctx), l.Close(ctx))
	}
	l.Spend(q.Held, j.Flush)
	l.OnGrant(q.Forget)
	s = assemble(o, accounts{l}, q, j)
	s.plane, s.present, s.upstream, s.secret = l, l.Snapshot, l.Upstream, l.Secret
	s.checks = []check{
		{errNoLedger, l.Writable},
		{errOldConfig, func(context.Context) error { return l.Known() }},
		{errNoJournal, func(context.Context) error { return j.Err() }},
	}
	l.OnChange(s.change)

	behind, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.Watch(behind) })
	done.Go(func() { s.inherit(behind, l) })
	s.closers = append(s.closers,
		func(context.Context) error { stop(); done.Wait(); return nil }, q.Close, j.Close, l.Close)
	return s, nil
}

// inheritEvery is how often it is looked whether a gateway that was taken over from has been
// killed.
const inheritEvery = 10 * time.Second

// inherit brings home what gateways of this folder that were killed while others took over
// from them have counted and leased, until the context ends.
func (s *Server) inherit(ctx context.Context, l *ledger.Ledger) {
	tick := time.NewTicker(inheritEvery)
	defer tick.Stop()
	for {
		places, err := quota.Left(s.options.Folder)
		for _, p := range places {
			err = errors.Join(err, bringHome(ctx, l, p, s.log), p.Release())
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("bring home what a killed gateway has counted", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func bringHome(ctx context.Context, l *ledger.Ledger, p *quota.Place, log *zap.Logger) error {
	if err := l.Known(); err != nil {
		return nil // later
	}
	j, err := journal.Open(ctx, l.Spool(p.Node), p.Folder, log)
	if err != nil {
		return err
	}
	_, err = l.Begin(ctx, p.Node)
	if err := errors.Join(err, j.Close(ctx)); err != nil {
		return err
	}
	return os.RemoveAll(p.Folder)
}

// accounts lets auth see the ledger's apps. It is an auth.Doubter, as the ledger is.
type accounts struct{ *ledger.Ledger }

func (a accounts) ByKey(key []byte) (auth.App, bool, error) {
	app, ok := a.Ledger.ByKey(key)
	return auth.App(app), ok, nil
}

func (a accounts) ByCode(code []byte) (auth.App, bool, error) {
	app, ok := a.Ledger.ByCode(code)
	return auth.App(app), ok, nil
}

// Plane is the gateway as the console sees it.
func (s *Server) Plane() control.Plane { return s.plane }

// Close stops accepting, lets the calls that are under way end as long as ctx allows, books
// what was counted, and gives back what was leased. The database stays open. To close
// again does nothing.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	s.closing.Do(func() {
		errs = append(errs, s.drain(ctx))
		// What was counted is booked even if the calls took all of the time.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeFor)
		defer cancel()
		for _, f := range s.closers {
			errs = append(errs, f(late))
		}
	})
	return errors.Join(errs...)
}

// closeFor bounds how long Close takes to book, after the calls have ended.
const closeFor = 30 * time.Second
