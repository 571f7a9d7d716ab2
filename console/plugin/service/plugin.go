// Package service keeps what buyers have: purchased services, and the parts that each
// purchase added (已购买的服务).
//
// Owns:  services and their parts, remarks.
// Asks:  market.Kind, to open them; market.Accounts, sellers' names; market.Usages, what
// was called; market.SDKs, what may be fetched.
// Hears: order.paid, and opens what was bought; service.opening, to reach the kind.
// Tells: service.opening, service.active.
package service

import (
	"embed"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db       *storage.DB
	bus      *event.Bus
	log      *zap.Logger
	now      func() time.Time
	zone     *time.Location
	kinds    map[market.KindID]market.Kind
	accounts market.Accounts
	usages   market.Usages
	sdks     market.SDKs
	apis     market.APIs
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ market.Services     = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.service", New: func() console.Plugin { return new(Plugin) }}
}

// Offer answers what a buyer has.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Services](h, p) }

// Provision finds the kinds and those who show what happened.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.bus, p.log, p.now, p.zone = h.DB, h.Bus, h.Log, h.Now, h.Zone
	p.kinds = map[market.KindID]market.Kind{}
	for _, k := range console.All[market.Kind](h) {
		p.kinds[k.KindInfo().ID] = k
	}
	if p.accounts, err = console.Need[market.Accounts](h); err != nil {
		return err
	}
	if p.usages, err = console.Need[market.Usages](h); err != nil {
		return err
	}
	if p.apis, err = console.Need[market.APIs](h); err != nil {
		return err
	}
	p.sdks, err = console.Need[market.SDKs](h)
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
	buyer := r.Buyer()
	buyer.Get("/services", p.list, web.Doc{Name: "service.list", In: filter{}, Out: List{}})
	buyer.Get("/services/:service", p.show, web.Doc{Name: "service.show", In: span{}, Out: Show{}})
	buyer.Post("/services/:service/remark", p.remark, web.Doc{Name: "service.remark", In: remark{}, Out: Row{}})
	buyer.Menu(web.MenuItem{Word: "service.menu", Icon: "cube", Href: "/services", Order: 10})
}

// Listen hears what was paid, and reaches the kinds.
func (p *Plugin) Listen(b *event.Bus) {
	event.On(b, "plugin.service", p.paid)
	event.Reach(b, "plugin.service", p.open, p.opened)
}
