// Package usage shows what was called: it reads the gateway's usage, adds it up by hour,
// and gives operators, buyers and the store their figures (使用情况).
//
// Owns:  sums by hour, a copy of what each package is, the place in the gateway's stream.
// Asks:  control.Plane, for usage and calls; market.Accounts, names.
// Hears: service.active, and learns of a package.
// Tells: nothing.
package usage

import (
	"context"
	"embed"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db       *storage.DB
	log      *zap.Logger
	gateway  control.Plane
	now      func() time.Time
	zone     *time.Location
	accounts market.Accounts

	pulling sync.Mutex // one reader of the stream at a time
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ console.Worker      = (*Plugin)(nil)
	_ market.Usages       = (*Plugin)(nil)
	_ market.Measures     = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.usage", New: func() console.Plugin { return new(Plugin) }}
}

// Offer answers what was called, and how products do.
func (p *Plugin) Offer(h *console.Host) {
	console.Offer[market.Usages](h, p)
	console.Offer[market.Measures](h, p)
}

// Provision finds the gateway and the names.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.log, p.gateway, p.now, p.zone = h.DB, h.Log, h.Gateway, h.Now, h.Zone
	p.accounts, err = console.Need[market.Accounts](h)
	return err
}

// Schema is its tables.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	operator := r.Operator()
	operator.Get("/operator/usage", p.list, web.Doc{Name: "usage.list", In: filter{}, Out: List{}})
	operator.Get("/operator/usage.csv", p.export, web.Doc{Name: "usage.export", In: filter{}, Type: "text/csv"})
	operator.Get("/operator/usage/:package", p.show, web.Doc{Name: "usage.show", In: span{}, Out: Show{}})
	operator.Menu(web.MenuItem{Group: "usage.menu_head", Word: "usage.menu", Icon: "chart", Href: "/operator/usage", Order: 210})
}

// Listen learns of packages.
func (p *Plugin) Listen(b *event.Bus) { event.Reach(b, "plugin.usage", p.names, p.learn) }

// Work reads the gateway's stream once a second.
func (p *Plugin) Work(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := p.pull(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("read the gateway's usage", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
