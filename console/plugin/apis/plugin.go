// Package apis is the seller's workshop: API groups, their interfaces and upstreams, drawn
// by hand or imported from an OpenAPI document, and published to the gateway (开放API).
//
// Owns:  groups and interfaces.
// Asks:  control.Plane, to publish.
// Hears: product.listed, and publishes the group's routes.
// Tells: nothing.
package apis

import (
	"embed"
	"io/fs"
	"time"

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
	db      *storage.DB
	gateway control.Plane
	now     func() time.Time
	suffix  string   // of new groups' domains
	shared  []string // domains under which every product can be called
	private bool     // upstreams on private addresses are allowed
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ market.APIs         = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.apis", New: func() console.Plugin { return new(Plugin) }}
}

// Offer describes groups to others.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.APIs](h, p) }

// Provision takes what it needs of the host.
func (p *Plugin) Provision(h *console.Host) error {
	p.db, p.gateway, p.now = h.DB, h.Gateway, h.Now
	p.suffix, p.shared, p.private = h.Config.Suffix, h.Config.SharedDomains, h.Config.AllowPrivateUpstreams
	return nil
}

// Schema is its tables.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	seller := r.Seller()
	seller.Get("/seller/apis", p.list, web.Doc{Name: "apis.list", Out: List{}})
	seller.Post("/seller/apis", p.draw, web.Doc{Name: "apis.draw", In: drawing{}, Out: Show{}, Status: 201, APIOnly: true})
	seller.Get("/seller/apis/import", p.showImport, web.Doc{Name: "apis.import_form", PageOnly: true})
	seller.Post("/seller/apis/import", p.imports, web.Doc{Name: "apis.import", In: upload{}, Out: Show{}, Status: 201})
	seller.Get("/seller/apis/:group", p.show, web.Doc{Name: "apis.show", Out: Show{}})
	seller.Get("/seller/apis/:group/select", p.showSelect, web.Doc{Name: "apis.select_form", PageOnly: true})
	seller.Post("/seller/apis/:group/select", p.choose, web.Doc{Name: "apis.select", In: selection{}, Out: Show{}})
	seller.Get("/seller/apis/:group/upstream", p.showUpstream, web.Doc{Name: "apis.upstream_form", PageOnly: true})
	seller.Post("/seller/apis/:group/upstream", p.setUpstream, web.Doc{Name: "apis.upstream", In: upstream{}, Out: Show{}})
	seller.Menu(web.MenuItem{Group: "apis.menu_head", Word: "apis.menu", Icon: "plug", Href: "/seller/apis", Order: 110})
}

// Listen publishes what is listed.
func (p *Plugin) Listen(b *event.Bus) { event.Reach(b, "plugin.apis", p.publishListed, p.published) }
