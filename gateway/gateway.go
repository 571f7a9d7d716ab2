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
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
	"github.com/souk-market/souk/gateway/storage"
)

// Defaults of Options.
const (
	DefaultMaxConns     = 10_000
	DefaultMaxHead      = 32 << 10
	DefaultReadTimeout  = time.Minute
	DefaultWriteTimeout = time.Minute
	DefaultIdleTimeout  = 75 * time.Second
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
	MaxUpstreamConns      int         // to one upstream; 0: proxy.DefaultMaxConns
	MaxAnswer             int         // bytes of an answer's body; 0: proxy.DefaultMaxAnswer

	MaxConns      int           // connections of callers; 0: DefaultMaxConns
	MaxConnsPerIP int           // 0: no bound, as behind a balancer all come from one address
	MaxHead       int           // bytes of request line and headers; 0: DefaultMaxHead
	ReadTimeout   time.Duration // for head and body of a request; 0: DefaultReadTimeout
	WriteTimeout  time.Duration // 0: DefaultWriteTimeout
	IdleTimeout   time.Duration // between two requests; 0: DefaultIdleTimeout
	NonceBudget   int64         // bytes; 0: memory.DefaultBudget
	NonceShare    int64         // an app's part is one in so many; 0: memory.DefaultShare

	Log       *zap.Logger // nil: none
	AccessLog *zap.Logger // one line for each call; nil: none
	Now       func() time.Time
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.MaxHead == 0 {
		o.MaxHead = DefaultMaxHead
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = DefaultReadTimeout
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.AccessLog == nil {
		o.AccessLog = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
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
	l, err := ledger.Open(ctx, ledger.Options{DB: o.DB, OpenDB: o.OpenDB, File: filepath.Join(o.Folder, ConfigFile), MasterKey: o.MasterKey, Now: o.Now, Log: o.Log})
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
	s := assemble(o, accounts{l}, q, j)
	s.plane = l
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
