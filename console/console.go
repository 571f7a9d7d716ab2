// Package console is the marketplace: it makes the plug-ins that were compiled in, lets
// them find each other, and serves their pages and JSON. The core knows none of them.
//
// The order of a start is New → Offer → Migrate → Provision → Routes and Listen → Start.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"sort"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/console/web/page"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed words page
var own embed.FS

// Config is what a Console is made of. DB, Gateway and Secret are needed.
type Config struct {
	DB      *storage.DB
	Gateway control.Plane
	// Secret is 32 bytes from which the keys of forms and tokens are made; the same after
	// a restart.
	Secret []byte
	Log    *zap.Logger      // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
	Zone   *time.Location   // nil: Asia/Shanghai
	// Public is the console's address as people type it; empty: the listener's.
	Public string
	// GatewayAddress is where apps call, as people type it: "http://127.0.0.1:8080".
	GatewayAddress string
	// Suffix is what the host names of new API groups end with: "api.localhost".
	Suffix string
	// SharedDomains are host names under which every product can be called besides its own
	// domain, as long as its paths are free there. Empty: only its own.
	SharedDomains []string
	// AllowPrivateUpstreams lets sellers name upstreams on loopback and private addresses.
	AllowPrivateUpstreams bool
	// Without names plug-ins to leave out.
	Without []string
}

// Console is a running marketplace.
type Console struct {
	host    *Host
	server  *web.Server
	plugins []made

	stop    context.CancelFunc
	working sync.WaitGroup
}

type made struct {
	id string
	Plugin
}

// New makes the plug-ins and everything between them, and migrates the database. It
// serves nothing until Start. An error names the plug-in that it comes from.
func New(ctx context.Context, c Config) (*Console, error) {
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Zone == nil {
		zone, err := time.LoadLocation("Asia/Shanghai")
		if err != nil {
			zone = time.FixedZone("UTC+8", 8*60*60)
		}
		c.Zone = zone
	}
	k := &Console{host: &Host{DB: c.DB, Gateway: c.Gateway, Log: c.Log, Now: c.Now, Zone: c.Zone, Config: c, offers: map[reflect.Type][]offer{}}}
	k.host.Bus = event.New(c.DB, c.Log, c.Now)
	k.makePlugins(c.Without)
	if err := k.migrate(ctx); err != nil {
		return nil, err
	}
	for _, p := range k.plugins {
		if o, ok := p.Plugin.(Offerer); ok {
			k.host.asking = p.id
			o.Offer(k.host)
		}
	}
	for _, p := range k.plugins {
		if v, ok := p.Plugin.(Provisioner); ok {
			k.host.asking = p.id
			if err := v.Provision(k.host); err != nil {
				return nil, fmt.Errorf("%s: %w", p.id, err)
			}
		}
	}
	return k, k.serveBy()
}

func (k *Console) makePlugins(without []string) {
	for _, id := range Registered() {
		left := false
		for _, w := range without {
			left = left || w == id
		}
		if !left {
			k.plugins = append(k.plugins, made{id, registered[id].New()})
		}
	}
}

func (k *Console) migrate(ctx context.Context) error {
	if err := k.host.DB.Migrate(ctx, "event", event.Schema()); err != nil {
		return err
	}
	for _, p := range k.plugins {
		if m, ok := p.Plugin.(Migrator); ok {
			if err := k.host.DB.Migrate(ctx, p.id, m.Schema()); err != nil {
				return err
			}
		}
	}
	return nil
}

// serveBy gathers pages, words, routes and listeners.
func (k *Console) serveBy() error {
	sources := []page.Source{{Name: "web", Pages: Folder(own, "page"), Words: Folder(own, "words")}}
	for _, p := range k.plugins {
		s := page.Source{Name: p.id[strings.LastIndex(p.id, ".")+1:]}
		if t, ok := p.Plugin.(Templater); ok {
			s.Pages = t.Pages()
		}
		if t, ok := p.Plugin.(Translator); ok {
			s.Words = t.Words()
		}
		sources = append(sources, s)
	}
	pages, err := page.New(k.host.Config.Zone, sources...)
	if err != nil {
		return err
	}
	k.host.asking = "the console"
	accounts, err := Need[market.Accounts](k.host)
	if err != nil {
		return err
	}
	sandbox := false
	for _, p := range All[market.Payer](k.host) {
		sandbox = sandbox || p.PayerInfo().Sandbox
	}
	c := k.host.Config
	k.server = web.New(web.Config{Log: c.Log, Now: c.Now, Zone: c.Zone, Pages: pages, Accounts: accounts,
		Secret: c.Secret, Public: c.Public, Sandbox: sandbox})
	for _, p := range k.plugins {
		if r, ok := p.Plugin.(Router); ok {
			r.Routes(k.server.Routes())
		}
		if l, ok := p.Plugin.(Listener); ok {
			l.Listen(k.host.Bus)
		}
	}
	return k.server.Finish()
}

// Folder is a folder of an embedded tree, for the powers that give one.
func Folder(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return s
}

// Host is what the plug-ins were given; for the demo and for tests.
func (k *Console) Host() *Host { return k.host }

// Server is the web server; for tests that look at its routes.
func (k *Console) Server() *web.Server { return k.server }

// Start delivers events, lets workers work and serves on the listener, which it owns.
// The error of serving goes to the log; Stop ends everything.
func (k *Console) Start(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.host.Bus.Start(ctx)
	for _, p := range k.plugins {
		if w, ok := p.Plugin.(Worker); ok {
			k.working.Go(func() {
				if err := w.Work(ctx); err != nil && !errors.Is(err, context.Canceled) {
					k.host.Log.Error("a worker stopped", zap.String("plugin", p.id), zap.Error(err))
				}
			})
		}
	}
	k.working.Go(func() {
		if err := k.server.Serve(l); err != nil {
			k.host.Log.Error("the console's listener", zap.Error(err))
		}
	})
}

// Stop answers what is under way, as long as ctx allows, and ends everything.
func (k *Console) Stop(ctx context.Context) error {
	err := k.server.Shutdown(ctx)
	if k.stop != nil {
		k.stop()
	}
	k.host.Bus.Stop()
	k.working.Wait()
	for _, p := range k.plugins {
		if c, ok := p.Plugin.(Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// Plugins lists the IDs of the plug-ins that run.
func (k *Console) Plugins() []string {
	var ids []string
	for _, p := range k.plugins {
		ids = append(ids, p.id)
	}
	sort.Strings(ids)
	return ids
}
